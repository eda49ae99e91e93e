//! Memory that catches stray accesses: each buffer has a mapping of its own between two inaccessible pages.
//!
//! Placed at the end of its pages, the first byte past a buffer faults; the bytes before it, up to a page, are filled
//! and looked at afterwards. This module knows nothing of kernels.
#![expect(unsafe_code, reason = "maps memory")]

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// Buffers of so many bytes are offered large pages, as NumPy's arrays are: what walks through them with large strides
/// would else be measured by the walks through the page table.
const LARGE: usize = 1 << 22;

/// Fills the bytes around a buffer.
const CANARY: u8 = 0xc5;

/// Where a buffer lies in its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// As far back as this alignment allows: catches accesses past the end.
    End(usize),
    /// On the first byte of a page.
    Start,
    /// So many bytes past the start of a page, at most [`ROOM`], between pages that can be read: as allocators place arrays.
    /// A masked vector whose idle lanes reach into an inaccessible page takes many times as long, which is no concern of
    /// a kernel on other people's arrays.
    Past(usize),
}

/// How far past the start of a page a buffer may lie.
pub const ROOM: usize = 64;

/// A buffer between guard pages. Zero-sized buffers are fine: their pointer is valid for no access.
#[derive(Debug)]
pub struct Guarded {
    map: NonNull<c_void>,
    map_bytes: usize,
    page: usize,
    offset: usize,
    len: usize,
}

impl Guarded {
    /// Maps a buffer of `len` bytes.
    ///
    /// # Errors
    /// If the system refuses the mapping.
    pub fn new(len: usize, align: Align) -> io::Result<Guarded> {
        let page = page_bytes();
        let (room, around) = match align {
            Align::End(_) | Align::Start => (0, 0),
            Align::Past(_) => (ROOM, page),
        };
        let usable = (len + room).div_ceil(page).max(1) * page + 2 * around;
        let map_bytes = usable + 2 * page;
        let size = NonZeroUsize::new(map_bytes).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: an anonymous private mapping at an address of the system's choice affects no existing memory.
        let map =
            unsafe { mmap_anonymous(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE) }?;
        let offset = match align {
            Align::End(alignment) => page + (usable - len) / alignment.max(1) * alignment.max(1),
            Align::Start => page,
            Align::Past(bytes) => page + around + bytes.min(ROOM),
        };
        let mut buffer = Guarded { map, map_bytes, page, offset, len };
        #[cfg(target_os = "linux")]
        if len >= LARGE {
            // Where the system has no large pages, small ones do.
            // SAFETY: the range lies within the mapping just made; the advice changes no contents.
            let _ =
                unsafe { nix::sys::mman::madvise(buffer.map, map_bytes, nix::sys::mman::MmapAdvise::MADV_HUGEPAGE) };
        }
        for at in [0, page + usable] {
            // SAFETY: the page at `at` lies within the mapping just made, which nobody else knows.
            unsafe { mprotect(buffer.map.byte_add(at), page, ProtFlags::PROT_NONE) }?;
        }
        buffer.fill_slack();
        Ok(buffer)
    }

    /// The first byte.
    pub fn pointer(&self) -> *mut u8 {
        // SAFETY: `offset` lies within the mapping.
        unsafe { self.map.as_ptr().cast::<u8>().add(self.offset) }
    }

    /// The contents.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes from `offset` are mapped and readable; they are initialised (anonymous memory is zero),
        // and compiled code writes to them only while `&self` is not borrowed.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.len) }
    }

    /// The contents; the buffer must not be read-only.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` is the only borrow.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(), self.len) }
    }

    /// From now on, writing faults.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn make_read_only(&self) -> io::Result<()> {
        let usable = self.map_bytes - 2 * self.page;
        // SAFETY: these are this mapping's own pages; `bytes_mut` is documented not to be used afterwards.
        unsafe { mprotect(self.map.byte_add(self.page), usable, ProtFlags::PROT_READ) }?;
        Ok(())
    }

    /// True if the bytes around the buffer, up to its guard pages, are untouched.
    pub fn slack_is_intact(&self) -> bool {
        let (before, after) = self.slack();
        // SAFETY: both ranges lie within the accessible pages of the mapping.
        let intact = |(at, len)| unsafe {
            std::slice::from_raw_parts(self.map.as_ptr().cast::<u8>().add(at), len).iter().all(|&byte| byte == CANARY)
        };
        intact(before) && intact(after)
    }

    fn fill_slack(&mut self) {
        let (before, after) = self.slack();
        for (at, len) in [before, after] {
            // SAFETY: both ranges lie within the accessible pages of the mapping, which is still writable.
            unsafe { self.map.as_ptr().cast::<u8>().add(at).write_bytes(CANARY, len) };
        }
    }

    /// Offset and length of what lies between the guard pages before and after the buffer.
    fn slack(&self) -> ((usize, usize), (usize, usize)) {
        let end = self.offset + self.len;
        ((self.page, self.offset - self.page), (end, self.map_bytes - self.page - end))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no borrow of it outlives the value.
        // A failure leaks it, which is harmless.
        let _ = unsafe { munmap(self.map, self.map_bytes) };
    }
}

fn page_bytes() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::{Align, Guarded, ROOM};

    #[test]
    fn the_end_is_at_the_guard_and_the_slack_is_watched() {
        let mut buffer = Guarded::new(12, Align::End(4)).unwrap();
        assert_eq!((buffer.pointer() as usize + 12) % 4096, 0);
        buffer.bytes_mut().fill(7);
        assert!(buffer.slack_is_intact());
        let before = buffer.pointer().wrapping_sub(1);
        // SAFETY: the byte before lies in the same page.
        unsafe { before.write(0) };
        assert!(!buffer.slack_is_intact());
    }

    #[test]
    fn alignment_is_kept_where_it_leaves_a_gap() {
        let buffer = Guarded::new(100, Align::End(64)).unwrap();
        assert_eq!(buffer.pointer() as usize % 64, 0);
        assert!(buffer.slack_is_intact());
        assert_eq!(Guarded::new(0, Align::Start).unwrap().bytes().len(), 0);
    }

    #[test]
    fn what_lies_past_a_page_has_readable_pages_around_it() {
        for len in [0, 1, 4096 - 64, 4096 - 63, 4096] {
            for past in [0, 16, 48, ROOM] {
                let mut buffer = Guarded::new(len, Align::Past(past)).unwrap();
                assert_eq!(buffer.pointer() as usize % 4096, past);
                buffer.bytes_mut().fill(7);
                assert!(buffer.slack_is_intact());
                // What can be read around it holds the idle lanes of any vector.
                let ((_, before), (_, after)) = buffer.slack();
                assert!(before >= 4096 && after >= 4096, "{len} {past}: {before} {after}");
            }
        }
    }
}
