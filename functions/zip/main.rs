//! Zips a function's program as Lambda takes it: `function-zip PROGRAM ZIP`.
//!
//! One entry, `bootstrap`, that may be executed. Its date is fixed, so that the same program is the
//! same zip file, which `muster-aws` tells apart by its hash. The layout is that of PKWARE's
//! APPNOTE 6.3.

use std::error::Error;
use std::fs;

use libdeflater::{CompressionLvl, Compressor, crc32};

const NAME: &[u8] = b"bootstrap";
/// 2.0: deflated files (4.4.3).
const VERSION: u16 = 20;
/// The entry's attributes are Unix's (4.4.2).
const BY_UNIX: u16 = 3 << 8;
/// Deflated (4.4.5).
const DEFLATED: u16 = 8;
/// 2000-01-01 00:00 (4.4.6): years since 1980, month, day.
const DATE: u16 = 20 << 9 | 1 << 5 | 1;
/// A file that all may read and execute, in the upper half (4.4.15).
const MODE: u32 = 0o100_755 << 16;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [program, zip] = &args[..] else {
        return Err("usage: function-zip PROGRAM ZIP".into());
    };
    fs::write(zip, zipped(&fs::read(program)?)?)?;
    Ok(())
}

/// The zip file with this program in it.
fn zipped(program: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut compressor = Compressor::new(CompressionLvl::best());
    let mut packed = vec![0; compressor.deflate_compress_bound(program.len())];
    let size = compressor.deflate_compress(program, &mut packed)?;
    packed.truncate(size);

    let name_size = u16::try_from(NAME.len())?;
    // What both headers say of the entry (4.3.7, 4.3.12).
    let mut entry = Vec::new();
    for field in [VERSION, 0, DEFLATED, 0, DATE] {
        entry.extend(field.to_le_bytes());
    }
    for field in [
        crc32(program),
        u32::try_from(size)?,
        u32::try_from(program.len())?,
    ] {
        entry.extend(field.to_le_bytes());
    }
    // No extra field.
    entry.extend(name_size.to_le_bytes());
    entry.extend(0u16.to_le_bytes());

    let mut zip = b"PK\x03\x04".to_vec();
    zip.extend(&entry);
    zip.extend(NAME);
    zip.extend(packed);

    let directory = u32::try_from(zip.len())?;
    zip.extend(b"PK\x01\x02");
    zip.extend((BY_UNIX | VERSION).to_le_bytes());
    zip.extend(&entry);
    // No comment, the first disk, no internal attributes.
    zip.extend([0; 6]);
    zip.extend(MODE.to_le_bytes());
    // Where its own header is.
    zip.extend(0u32.to_le_bytes());
    zip.extend(NAME);

    let directory_size = u32::try_from(zip.len())? - directory;
    zip.extend(b"PK\x05\x06");
    // The first disk of one, one entry of one (4.3.16).
    for field in [0u16, 0, 1, 1] {
        zip.extend(field.to_le_bytes());
    }
    zip.extend(directory_size.to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend(0u16.to_le_bytes());
    Ok(zip)
}
