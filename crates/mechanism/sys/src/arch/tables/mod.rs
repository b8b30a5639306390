//! System call tables: facts of the Linux kernel's headers, sorted for binary search.

pub(super) mod aarch64;
pub(super) mod arm;
pub(super) mod i386;
pub(super) mod x32;
pub(super) mod x86_64;
