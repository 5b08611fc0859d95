//! Writes a cpio archive in the `newc` format, which is what the kernel unpacks as its first file
//! system.
//!
//! A header is 110 bytes: a magic number and thirteen fields of eight hexadecimal digits. Header
//! with name, and content, are each padded with zeros to a multiple of four bytes.

use std::io::{self, Write};

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const END: &str = "TRAILER!!!";

pub(super) struct Archive<W> {
    to: W,
    written: usize,
    entries: u32,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> Archive<W> {
        Archive {
            to,
            written: 0,
            entries: 0,
        }
    }

    /// A folder; the one above it has to be there already.
    pub(super) fn folder(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, FOLDER, &[])
    }

    pub(super) fn program(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, PROGRAM, content)
    }

    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, FILE, content)
    }

    /// Writes the end of the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.entries = 0;
        self.entry(END, 0, &[])?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let name = path.trim_start_matches('/');
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other(format!("{path} is larger than 4 GiB")))?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        // Number, mode, owner, group, links, time, size, four device numbers, length of the name,
        // checksum.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        self.entries += 1;
        self.write(b"070701")?;
        for field in fields {
            self.write(format!("{field:08x}").as_bytes())?;
        }
        self.write(name.as_bytes())?;
        self.write(&[0])?;
        self.pad()?;
        self.write(content)?;
        self.pad()
    }

    fn pad(&mut self) -> io::Result<()> {
        let excess = self.written.next_multiple_of(4) - self.written;
        self.write(&[0; 3][..excess])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.to.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_an_archive_are_those_of_the_format() {
        let mut archive = Archive::new(Vec::new());
        archive.folder("/bin").unwrap();
        archive.program("/bin/x", b"12345").unwrap();
        let bytes = archive.finish().unwrap();
        let first = [
            "070701", "00000000", "000041ed", "00000000", "00000000", "00000001", "00000000",
            "00000000", "00000000", "00000000", "00000000", "00000000", "00000004", "00000000",
            "bin\0", "\0\0",
        ];
        let (start, rest) = bytes.split_at(116);
        assert_eq!(String::from_utf8_lossy(start), first.concat());
        assert_eq!(&rest[6..14], b"00000001", "entries are numbered");
        assert_eq!(&rest[54..62], b"00000005", "the size of the content");
        assert_eq!(&rest[110..116], b"bin/x\x00", "the name");
        assert_eq!(
            &rest[116..124],
            b"12345\x00\x00\x00",
            "the content, padded to a multiple of four"
        );
        assert_eq!(&rest[124..130], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }
}
