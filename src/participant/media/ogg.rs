//! Ogg, the container of an Opus clip (RFC 3533, RFC 7845).

/// Why bytes are no clip in Ogg.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OggError {
    /// A page's header or body is cut off, or it doesn't start with `OggS` version 0.
    #[error("page {0} is cut off or no Ogg page")]
    Page(usize),
    /// A page's checksum doesn't match.
    #[error("page {0} has a wrong checksum")]
    Checksum(usize),
    /// A page is missing, or belongs to another stream.
    #[error("page {0} does not follow the one before")]
    Sequence(usize),
    /// The last packet doesn't end.
    #[error("the last packet is cut off")]
    Packet,
}

/// A page's header, up to its table of segments (RFC 3533 section 6).
const HEADER: usize = 27;

/// The packets of a file with one stream, its two header packets included.
///
/// # Errors
/// See [`OggError`]; nothing is repaired.
pub fn packets(bytes: &[u8]) -> Result<Vec<Vec<u8>>, OggError> {
    let mut packets = Vec::new();
    let mut packet = Vec::new();
    let mut open = false;
    let mut rest = bytes;
    let mut serial = None;
    let mut index = 0;
    while !rest.is_empty() {
        let page = Page::parse(rest).ok_or(OggError::Page(index))?;
        if checksum(page.whole) != page.checksum {
            return Err(OggError::Checksum(index));
        }
        if *serial.get_or_insert(page.serial) != page.serial
            || usize::try_from(page.sequence) != Ok(index)
            || page.continued != open
        {
            return Err(OggError::Sequence(index));
        }
        let mut body = page.body;
        for &lace in page.laces {
            let (segment, after) = body
                .split_at_checked(usize::from(lace))
                .ok_or(OggError::Page(index))?;
            packet.extend_from_slice(segment);
            body = after;
            open = lace == 255;
            if !open {
                packets.push(std::mem::take(&mut packet));
            }
        }
        rest = page.rest;
        index += 1;
    }
    if open {
        return Err(OggError::Packet);
    }
    Ok(packets)
}

struct Page<'a> {
    continued: bool,
    serial: u32,
    sequence: u32,
    checksum: u32,
    laces: &'a [u8],
    body: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Page<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let (&[b'O', b'g', b'g', b'S', 0, flags], fields) = header.split_first_chunk()? else {
            return None;
        };
        let (_granule, fields) = fields.split_first_chunk::<8>()?;
        let (serial, fields) = fields.split_first_chunk::<4>()?;
        let (sequence, fields) = fields.split_first_chunk::<4>()?;
        let (checksum, fields) = fields.split_first_chunk::<4>()?;
        let laces = bytes.get(HEADER..)?.get(..usize::from(*fields.first()?))?;
        let from = HEADER + laces.len();
        let length: usize = laces.iter().map(|&lace| usize::from(lace)).sum();
        let (whole, rest) = bytes.split_at_checked(from + length)?;
        Some(Page {
            continued: flags & 1 != 0,
            serial: u32::from_le_bytes(*serial),
            sequence: u32::from_le_bytes(*sequence),
            checksum: u32::from_le_bytes(*checksum),
            laces,
            body: whole.get(from..)?,
            whole,
            rest,
        })
    }
}

/// CRC-32 with polynomial 0x04c11db7, neither reflected nor inverted, over a page whose own
/// checksum field counts as zero.
fn checksum(page: &[u8]) -> u32 {
    page.iter().enumerate().fold(0, |crc, (at, &byte)| {
        let byte = if (22..26).contains(&at) { 0 } else { byte };
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            (crc << 1)
                ^ if crc & 0x8000_0000 == 0 {
                    0
                } else {
                    0x04c1_1db7
                }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(sequence: u8, flags: u8, laces: &[u8], body: &[u8]) -> Vec<u8> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend([0; 8]);
        page.extend([7, 0, 0, 0, sequence, 0, 0, 0, 0, 0, 0, 0]);
        page.push(u8::try_from(laces.len()).unwrap());
        page.extend(laces);
        page.extend(body);
        let sum = checksum(&page);
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn joins_packets_across_segments_and_pages() {
        let mut bytes = page(0, 0, &[3, 255], &[b"one".as_slice(), &[1; 255]].concat());
        bytes.extend(page(1, 1, &[2, 0], &[2, 2]));
        let packets = packets(&bytes).unwrap();
        assert_eq!(packets[0], b"one");
        assert_eq!(packets[1], [&[1; 255][..], &[2, 2]].concat());
        assert_eq!(packets[2], b"");
    }

    #[test]
    fn refuses_what_is_cut_or_changed() {
        let whole = page(0, 0, &[3], b"one");
        assert_eq!(packets(&whole[..29]), Err(OggError::Page(0)));
        let mut changed = whole.clone();
        changed[29] ^= 1;
        assert_eq!(packets(&changed), Err(OggError::Checksum(0)));
        assert_eq!(
            packets(&page(1, 0, &[3], b"one")),
            Err(OggError::Sequence(0))
        );
        assert_eq!(
            packets(&page(0, 0, &[255], &[0; 255])),
            Err(OggError::Packet)
        );
    }
}
