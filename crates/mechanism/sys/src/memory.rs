//! Memory that is given back: what a small process that mostly waits should not hold.

/// How far below the present frame the stack is kept by [`release_unused`].
const STACK_KEPT: usize = 4 << 10;

/// The part of the stack below that is given back; it grows again by itself.
const STACK_RELEASED: usize = 96 << 10;

/// Gives back what the allocator keeps (`malloc_trim`) and the stack that deeper calls used.
/// For a single-threaded process between two phases of its life.
#[inline(never)]
pub fn release_unused() {
    // SAFETY: takes no pointer; the allocator locks itself.
    unsafe { libc::malloc_trim(0) };
    let here = std::hint::black_box(0_u8);
    // SAFETY: reads a constant of the system.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(1 << 16);
    let end = (std::ptr::from_ref(&here).addr() - STACK_KEPT) & !(page - 1);
    let start = end - STACK_RELEASED;
    // SAFETY: the range lies below every live frame of this thread, with room to spare for the
    // red zone and for this call's own frame, so no object lives in it. Where the stack has not
    // grown that far the call fails with ENOMEM after releasing what is mapped, or finds nothing
    // of ours: the kernel keeps a gap of 1 MiB below a growing stack (stack_guard_gap).
    unsafe {
        let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(start);
        libc::madvise(start, STACK_RELEASED, libc::MADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Touches some stack and adds up what it wrote.
    #[inline(never)]
    fn deep(level: u64) -> u64 {
        let block = std::hint::black_box([level; 512]);
        let below = if level == 0 { 0 } else { deep(level - 1) };
        below + block.iter().sum::<u64>()
    }

    #[test]
    fn live_frames_survive_and_the_stack_can_be_used_again() {
        let expected = 512 * (0..=60).sum::<u64>();
        assert_eq!(deep(60), expected);
        let kept: Vec<u64> = (0..10_000).collect();
        let local = std::hint::black_box([42_u64; 1024]);
        release_unused();
        assert!(local.iter().all(|&n| n == 42));
        assert_eq!(kept.iter().sum::<u64>(), 49_995_000);
        assert_eq!(deep(60), expected);
    }
}
