//! Where the x32 ABI differs from x86-64. All other calls have the same number in both.

/// Name and number without the x32 bit (`asm/unistd_x32.h`), sorted by name.
#[rustfmt::skip]
pub const SPECIAL: &[(&str, u32)] = &[
    ("execve", 520), ("execveat", 545), ("get_robust_list", 531), ("getsockopt", 542),
    ("io_setup", 543), ("io_submit", 544), ("ioctl", 514), ("kexec_load", 528),
    ("move_pages", 533), ("mq_notify", 527), ("preadv", 534), ("preadv2", 546),
    ("process_vm_readv", 539), ("process_vm_writev", 540), ("ptrace", 521), ("pwritev", 535),
    ("pwritev2", 547), ("readv", 515), ("recvfrom", 517), ("recvmmsg", 537), ("recvmsg", 519),
    ("rt_sigaction", 512), ("rt_sigpending", 522), ("rt_sigqueueinfo", 524), ("rt_sigreturn", 513),
    ("rt_sigtimedwait", 523), ("rt_tgsigqueueinfo", 536), ("sendmmsg", 538), ("sendmsg", 518),
    ("set_robust_list", 530), ("setsockopt", 541), ("sigaltstack", 525), ("timer_create", 526),
    ("vmsplice", 532), ("waitid", 529), ("writev", 516),
];

/// Calls of x86-64 that x32 lacks, sorted by name.
#[rustfmt::skip]
pub const ABSENT: &[&str] = &[
    "_sysctl", "create_module", "epoll_ctl_old", "epoll_wait_old", "get_kernel_syms",
    "get_thread_area", "nfsservctl", "query_module", "set_thread_area", "uprobe", "uretprobe",
    "uselib", "vserver",
];
