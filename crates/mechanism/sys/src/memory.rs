//! Memory that is given back: what a process that mostly waits should not hold.

use std::fs;
use std::io;

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
    let end = (std::ptr::from_ref(&here).addr() - STACK_KEPT) & !(page_size() - 1);
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

/// Lets the allocator have at most `most` arenas (`M_ARENA_MAX`). Without a bound it makes eight
/// for each processor, as threads come, and each of them keeps pages of its own that are used in
/// part. For the beginning of a process: arenas that there are stay.
pub fn bound_arenas(most: i32) {
    // SAFETY: takes no pointer, and is called before there are threads that allocate; what it
    // refuses changes nothing.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, most) };
}

/// Gives back the pages of all arenas that nothing lives in (`malloc_trim`), also those between
/// others. Who allocates meanwhile waits; it takes milliseconds where there is much.
pub fn trim() {
    // SAFETY: takes no pointer; the allocator locks itself.
    unsafe { libc::malloc_trim(0) };
}

/// What the allocator has handed out, bytes: also what threads keep for their next use, and the
/// part of 4 GiB that is beyond the last whole one.
pub fn live() -> u64 {
    // The fields are C's `int`, and count modulo 2^32. The form with wider ones is not in every C
    // library that Berth is built with.
    #[allow(deprecated)]
    // SAFETY: takes no pointer and returns a value; the allocator locks itself.
    let info = unsafe { libc::mallinfo() };
    u64::from(info.uordblks.cast_unsigned()) + u64::from(info.hblkhd.cast_unsigned())
}

/// Pages of this process in memory that are no file's, bytes (`/proc/self/statm`).
///
/// # Errors
/// `/proc` is not there.
pub fn held() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let mut fields = text.split(' ').map(|field| field.parse::<u64>().ok());
    let (resident, shared) = (fields.nth(1).flatten(), fields.next().flatten());
    let pages = resident
        .zip(shared)
        .map(|(all, file)| all.saturating_sub(file));
    let pages = pages.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(pages * page_size() as u64)
}

fn page_size() -> usize {
    // SAFETY: reads a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list that is freed but for every thousandth piece leaves pages that only a trim gives
    /// back.
    #[test]
    fn what_lies_between_live_pieces_goes_back() {
        const PIECES: usize = 100_000;
        let (fresh, fresh_live) = (held().unwrap(), live());
        let pieces: Vec<Vec<u8>> = (0..PIECES).map(|_| vec![1; 400]).collect();
        let all = 400 * PIECES as u64;
        assert!(held().unwrap() > fresh + all / 2);
        assert!(live() > fresh_live + all);
        let kept: Vec<Vec<u8>> = pieces.into_iter().step_by(1000).collect();
        assert!(live() < fresh_live + all / 2);
        trim();
        let left = held().unwrap();
        assert!(left < fresh + all / 2, "{fresh} then {left} bytes");
        assert!(kept.iter().all(|piece| piece.len() == 400));
    }

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
