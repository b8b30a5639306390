//! Compiled filters, asked what they do.

use super::super::{Condition, Operator, Rule};
use super::*;

const EPERM: Action = Action::Errno(1);
const X32_BIT: u32 = 0x4000_0000;

fn rule(names: &[&str], action: Action, conditions: &[Condition]) -> Rule {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Rule {
        names,
        action,
        conditions: conditions.to_vec(),
    }
}

fn profile(default_action: Action, architectures: &[Arch], rules: Vec<Rule>) -> Profile {
    Profile {
        default_action,
        architectures: architectures.to_vec(),
        rules,
    }
}

fn argument(index: u8, operator: Operator, value: u64) -> Condition {
    Condition {
        index,
        operator,
        value,
    }
}

fn ask(filter: &Filter, arch: Arch, name: &str, arguments: &[u64]) -> Action {
    let number = arch.syscall_number(name).unwrap();
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    filter.simulate(arch, number, all).unwrap()
}

#[test]
fn comparisons_cover_both_halves() {
    let edge = [
        0,
        1,
        0x7fff_ffff,
        0xffff_ffff,
        1 << 32,
        (1 << 32) + 1,
        5 << 32,
        u64::MAX,
    ];
    let mask = 0xff00_0000_f000_000f;
    type Holds = fn(u64, u64) -> bool;
    let operators: [(Operator, Holds); 9] = [
        (Operator::NotEqual, |a, b| a != b),
        (Operator::LessThan, |a, b| a < b),
        (Operator::LessEqual, |a, b| a <= b),
        (Operator::Equal, |a, b| a == b),
        (Operator::GreaterEqual, |a, b| a >= b),
        (Operator::GreaterThan, |a, b| a > b),
        (Operator::MaskedEqual { mask }, |a, b| {
            a & 0xff00_0000_f000_000f == b
        }),
        (Operator::MaskedEqual { mask: 0xff }, |a, b| a & 0xff == b),
        (Operator::MaskedEqual { mask: 0 }, |_, b| b == 0),
    ];
    for (operator, holds) in operators {
        for value in edge {
            let conditions = [argument(3, operator, value)];
            let rules = vec![rule(&["write"], Action::Allow, &conditions)];
            let filter = compile(&profile(EPERM, &[Arch::X86_64], rules)).unwrap();
            for tried in edge {
                let expected = if holds(tried, value) {
                    Action::Allow
                } else {
                    EPERM
                };
                let action = ask(&filter, Arch::X86_64, "write", &[0, 0, 0, tried]);
                assert_eq!(action, expected, "{tried:#x} {operator:?} {value:#x}");
            }
        }
    }
}

#[test]
fn narrow_abis_compare_lower_halves() {
    let check = |operator, value, tried, expected| {
        let rules = vec![rule(
            &["write"],
            Action::Allow,
            &[argument(0, operator, value)],
        )];
        let filter = compile(&profile(EPERM, &[Arch::X86], rules)).unwrap();
        assert_eq!(ask(&filter, Arch::X86, "write", &[tried]), expected);
    };
    check(Operator::Equal, u64::MAX, 0xffff_ffff, Action::Allow);
    check(Operator::Equal, 7, 8, EPERM);
    check(Operator::GreaterThan, 7, 8, Action::Allow);
    check(Operator::LessEqual, 7, 8, EPERM);
}

#[test]
fn conditions_of_a_rule_all_count_unless_an_argument_repeats() {
    let two = argument(0, Operator::Equal, 2);
    let three = argument(1, Operator::Equal, 3);
    let both = vec![rule(&["read"], Action::Allow, &[two, three])];
    let filter = compile(&profile(EPERM, &[Arch::Aarch64], both)).unwrap();
    assert_eq!(ask(&filter, Arch::Aarch64, "read", &[2, 3]), Action::Allow);
    assert_eq!(ask(&filter, Arch::Aarch64, "read", &[2, 4]), EPERM);
    assert_eq!(ask(&filter, Arch::Aarch64, "read", &[1, 3]), EPERM);

    let again = argument(0, Operator::Equal, 9);
    let any = vec![rule(&["read"], Action::Allow, &[two, three, again])];
    let filter = compile(&profile(EPERM, &[Arch::Aarch64], any)).unwrap();
    for arguments in [[2, 0], [0, 3], [9, 0]] {
        assert_eq!(
            ask(&filter, Arch::Aarch64, "read", &arguments),
            Action::Allow
        );
    }
    assert_eq!(ask(&filter, Arch::Aarch64, "read", &[3, 2]), EPERM);
}

#[test]
fn several_rules_for_one_call() {
    let one = [argument(0, Operator::Equal, 1)];
    let rules = vec![
        rule(&["read"], Action::Log, &one),
        rule(
            &["read"],
            Action::Trap,
            &[argument(0, Operator::LessThan, 3)],
        ),
        rule(&["write"], Action::Trap, &one),
        rule(&["write"], Action::Allow, &[]),
        rule(&["write"], Action::KillThread, &[]),
        rule(&["open"], EPERM, &[]),
        rule(&["open"], Action::Trace(7), &one),
        rule(&["no_such_call"], Action::Allow, &[]),
    ];
    let filter = compile(&profile(EPERM, &[Arch::X86_64], rules)).unwrap();
    let cases = [
        ("read", 1, Action::Log),
        ("read", 2, Action::Trap),
        ("read", 3, EPERM),
        ("write", 1, Action::Allow),
        ("open", 1, Action::Trace(7)),
        ("open", 2, EPERM),
    ];
    for (name, value, action) in cases {
        assert_eq!(
            ask(&filter, Arch::X86_64, name, &[value]),
            action,
            "{name} {value}"
        );
    }
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let rules = || vec![rule(&["read", "close_range"], Action::Allow, &[])];
    let all = [Arch::X86_64, Arch::X86, Arch::X32];
    let filter = compile(&profile(EPERM, &all, rules())).unwrap();
    for arch in all {
        assert_eq!(ask(&filter, arch, "clone3", &[]), EPERM);
        assert_eq!(ask(&filter, arch, "close_range", &[]), Action::Allow);
        assert_eq!(ask(&filter, arch, "openat2", &[]), Action::Errno(38));
    }
    // In x32's block of its own, numbers say nothing of age.
    assert_eq!(ask(&filter, Arch::X32, "ioctl", &[]), EPERM);
    let beyond = filter.simulate(Arch::X32, X32_BIT + 548, [0; 6]);
    assert_eq!(beyond, Some(Action::Errno(38)));
    // Only errors are replaced.
    for default in [Action::Allow, Action::KillProcess, Action::Trap] {
        let filter = compile(&profile(default, &all, rules())).unwrap();
        assert_eq!(ask(&filter, Arch::X86, "openat2", &[]), default);
    }
}

#[test]
fn unlisted_abis_are_killed() {
    let read = || vec![rule(&["read"], Action::Log, &[])];
    let filter = compile(&profile(Action::Allow, &[Arch::X86_64], read())).unwrap();
    assert_eq!(ask(&filter, Arch::X86_64, "read", &[]), Action::Log);
    for arch in [Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm] {
        assert_eq!(
            ask(&filter, arch, "write", &[]),
            Action::KillProcess,
            "{arch:?}"
        );
    }
    // -1 is nobody's number, and has the x32 bit.
    assert_eq!(
        filter.simulate(Arch::X86_64, u32::MAX, [0; 6]),
        Some(Action::Allow)
    );
    let filter = compile(&profile(Action::Allow, &[Arch::X32], read())).unwrap();
    assert_eq!(ask(&filter, Arch::X32, "read", &[]), Action::Log);
    assert_eq!(ask(&filter, Arch::X86_64, "read", &[]), Action::KillProcess);
    let filter = compile(&profile(Action::Allow, &[], read())).unwrap();
    assert_eq!(ask(&filter, Arch::NATIVE, "read", &[]), Action::Log);
}

/// A filter that names a call must also cover the older door to it.
#[test]
fn multiplexed_calls_follow_their_rules() {
    let filter = |default, rules| compile(&profile(default, &[Arch::X86], rules)).unwrap();
    let vsock = [argument(0, Operator::Equal, 40)];
    let socketcall = |filter: &Filter, code| ask(filter, Arch::X86, "socketcall", &[code]);

    let denied = filter(Action::Allow, vec![rule(&["connect", "semop"], EPERM, &[])]);
    assert_eq!(socketcall(&denied, 3), EPERM);
    assert_eq!(socketcall(&denied, 2), Action::Allow);
    assert_eq!(ask(&denied, Arch::X86, "ipc", &[1]), EPERM);
    assert_eq!(ask(&denied, Arch::X86, "ipc", &[0x1_0001]), EPERM);
    assert_eq!(ask(&denied, Arch::X86, "ipc", &[2]), Action::Allow);

    // The family is behind a pointer: forbidding one forbids all, allowing one allows none.
    let one_denied = filter(Action::Allow, vec![rule(&["socket"], EPERM, &vsock)]);
    assert_eq!(socketcall(&one_denied, 1), EPERM);
    let one_allowed = filter(EPERM, vec![rule(&["socket"], Action::Allow, &vsock)]);
    assert_eq!(socketcall(&one_allowed, 1), EPERM);
    let all_allowed = filter(EPERM, vec![rule(&["socket"], Action::Allow, &[])]);
    assert_eq!(socketcall(&all_allowed, 1), Action::Allow);
    assert_eq!(socketcall(&all_allowed, 3), EPERM);

    // A rule for the multiplexer itself decides.
    let open = vec![
        rule(&["socket"], EPERM, &[]),
        rule(&["socketcall"], Action::Log, &[]),
    ];
    assert_eq!(socketcall(&filter(Action::Allow, open), 1), Action::Log);
}

/// Every call of every table gets exactly what a plain reading of the rules gives it, whatever
/// the shape of the tree.
#[test]
fn trees_agree_with_the_rules() {
    let names: Vec<&str> = include_str!("../arch/tables/x86_64.rs")
        .split('"')
        .skip(1)
        .step_by(2)
        .collect();
    assert!(names.len() > 350);
    let actions = [
        Action::Allow,
        Action::Log,
        Action::Errno(13),
        Action::KillThread,
    ];
    let mut state = 0x9e37_79b9_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let all = [Arch::X86_64, Arch::X32, Arch::Aarch64];
    for density in [1, 2, 3, 10, 100] {
        let chosen: Vec<Option<Action>> = names
            .iter()
            .map(|_| (random(density) == 0).then(|| actions[random(4)]))
            .collect();
        let rules = names.iter().zip(&chosen).filter_map(|(name, action)| {
            action.map(|action| rule(&[name], action, &[argument(5, Operator::Equal, 1)]))
        });
        let filter = compile(&profile(Action::Trap, &all, rules.collect())).unwrap();
        for (name, action) in names.iter().zip(&chosen) {
            for arch in all
                .into_iter()
                .filter(|arch| arch.syscall_number(name).is_some())
            {
                let expected = action.unwrap_or(Action::Trap);
                assert_eq!(ask(&filter, arch, name, &[0, 0, 0, 0, 0, 1]), expected);
                assert_eq!(ask(&filter, arch, name, &[0]), Action::Trap);
            }
        }
    }
}

#[test]
fn impossible_profiles_are_refused() {
    let check = |action, conditions: &[Condition], error| {
        let rules = vec![rule(&["kill"], action, conditions)];
        assert_eq!(compile(&profile(Action::Trap, &[], rules)), Err(error));
    };
    check(Action::Errno(4096), &[], CompileError::Errno(4096));
    let error = CompileError::Argument {
        name: "kill".to_owned(),
        index: 6,
    };
    check(Action::Allow, &[argument(6, Operator::Equal, 0)], error);

    // Different arguments, so that the tests cannot share loads.
    let many = (0..2000).map(|value| {
        rule(
            &["kill"],
            Action::Allow,
            &[argument((value % 6) as u8, Operator::Equal, value)],
        )
    });
    match compile(&profile(EPERM, &[Arch::X86_64], many.collect())) {
        Err(CompileError::Length(FilterError::TooLong(length))) => assert!(length > 4096),
        other => panic!("{other:?}"),
    }
}

/// Argument checks far longer than a conditional jump reaches.
#[test]
fn long_checks_work() {
    let rules = (0..300).map(|value| {
        rule(
            &["kill"],
            Action::Errno(value),
            &[argument(
                (value % 6) as u8,
                Operator::Equal,
                u64::from(value),
            )],
        )
    });
    let filter = compile(&profile(Action::Allow, &[Arch::X86_64], rules.collect())).unwrap();
    for value in 1..300_u16 {
        let mut arguments = [0; 6];
        arguments[usize::from(value % 6)] = u64::from(value);
        // Argument 0 is zero for all but every sixth, which the first rule catches.
        let expected = if value % 6 == 0 { value } else { 0 };
        assert_eq!(
            ask(&filter, Arch::X86_64, "kill", &arguments),
            Action::Errno(expected)
        );
        arguments
            .iter_mut()
            .filter(|argument| **argument == 0)
            .for_each(|a| *a = 1 << 40);
        assert_eq!(
            ask(&filter, Arch::X86_64, "kill", &arguments),
            Action::Errno(value)
        );
    }
}
