//! HdrHistogram's buckets for two significant digits, and its V2 encoding of their counts.
//!
//! Values up to 255 have a bucket each, and of each further power of two 128 buckets share what
//! lies in it (Tene, HdrHistogram; the encoding is that of its `encodeIntoByteBuffer`).

/// Significant decimal digits.
const DIGITS: u32 = 2;
/// `V2EncodingCookieBase | 0x10`: word size, here of counts as variable-length numbers.
const COOKIE: u32 = 0x1c84_9303 | 0x10;
/// Cookie, length, normalizing offset, digits; lowest value, highest value, conversion ratio.
const HEADER: usize = 4 * 4 + 3 * 8;
/// The most bytes of a variable-length number: eight of seven bits, and one of eight.
const LONG: u32 = 8;

/// A bucket, by its index from the smallest values on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(pub u16);

impl Bucket {
    /// The one that a value below 2^32 is in; of a larger one, the last that there is.
    pub fn of(value: u64) -> Bucket {
        let value = value.min(u64::from(u32::MAX));
        let shift = value.checked_ilog2().unwrap_or(0).saturating_sub(7);
        let index = u64::from(shift) * 128 + (value >> shift);
        Bucket(u16::try_from(index).unwrap_or(u16::MAX))
    }

    fn shift(self) -> u32 {
        (u32::from(self.0) / 128).saturating_sub(1)
    }

    /// Its smallest value.
    pub fn lowest(self) -> u64 {
        let shift = self.shift();
        (u64::from(self.0) - u64::from(shift) * 128) << shift
    }

    /// Its largest value.
    pub fn highest(self) -> u64 {
        self.lowest() + (1 << self.shift()) - 1
    }

    /// The one in its middle.
    pub fn middle(self) -> u64 {
        self.lowest() + (1 << self.shift()) / 2
    }
}

/// Counts in ascending order, none of them zero, as V2 has them; nothing when one is larger than
/// it can write.
pub fn encode(counts: &[(Bucket, u64)]) -> Option<Vec<u8>> {
    let mut numbers = Vec::new();
    let mut next = 0;
    for (bucket, count) in counts {
        match i64::from(bucket.0) - next {
            0 => {}
            1 => put(0, &mut numbers),
            empty => put(-empty, &mut numbers),
        }
        put(i64::try_from(*count).ok()?, &mut numbers);
        next = i64::from(bucket.0) + 1;
    }
    let highest = counts.last().map_or(0, |(bucket, _)| bucket.highest());
    let mut bytes = Vec::with_capacity(HEADER + numbers.len());
    bytes.extend_from_slice(&COOKIE.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(numbers.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(&0u32.to_be_bytes());
    bytes.extend_from_slice(&DIGITS.to_be_bytes());
    bytes.extend_from_slice(&1u64.to_be_bytes());
    bytes.extend_from_slice(&highest.max(2).to_be_bytes());
    bytes.extend_from_slice(&1f64.to_be_bytes());
    bytes.extend_from_slice(&numbers);
    Some(bytes)
}

/// The counts that these bytes stand for, ascending, none of them zero; nothing when they are not
/// of this encoding and these buckets, or hold a value above `highest`'s bucket.
pub fn decode(bytes: &[u8], highest: u64) -> Option<Vec<(Bucket, u64)>> {
    let (header, mut numbers) = bytes.split_at_checked(HEADER)?;
    let word = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let lowest = u64::from_be_bytes(header.get(16..24)?.try_into().ok()?);
    let is_ours = word(0)? == COOKIE
        && usize::try_from(word(4)?).ok()? == numbers.len()
        && word(8)? == 0
        && word(12)? == DIGITS
        && lowest == 1;
    if !is_ours {
        return None;
    }
    let last = i64::from(Bucket::of(highest).0);
    // Most counts have a step before them.
    let mut counts = Vec::with_capacity(numbers.len() / 2 + 1);
    let mut next = 0i64;
    while !numbers.is_empty() {
        let number = take(&mut numbers)?;
        if number < 0 {
            next = next.checked_sub(number)?;
            continue;
        }
        if next > last {
            return None;
        }
        if number > 0 {
            counts.push((Bucket(u16::try_from(next).ok()?), number.unsigned_abs()));
        }
        next += 1;
    }
    Some(counts)
}

/// Writes a number, zig-zag encoded, seven bits a byte, low ones first.
fn put(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    for _ in 0..LONG {
        let [low, ..] = rest.to_le_bytes();
        if rest < 0x80 {
            return out.push(low);
        }
        out.push(low | 0x80);
        rest >>= 7;
    }
    let [low, ..] = rest.to_le_bytes();
    out.push(low);
}

/// Reads one from the front.
fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0u64;
    for n in 0..=LONG {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = if n < LONG { *byte & 0x7f } else { *byte };
        number |= u64::from(bits) << (7 * n);
        if n == LONG || *byte < 0x80 {
            break;
        }
    }
    Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
    use proptest::prelude::*;

    use super::*;

    const HIGH: u64 = 3_600_000_000;

    /// The library's, of so many of each of these values.
    fn theirs(values: &[(u64, u64)]) -> hdrhistogram::Histogram<u64> {
        let mut h = hdrhistogram::Histogram::new(2).unwrap();
        h.auto(true);
        for (value, n) in values {
            h.record_n(*value, *n).unwrap();
        }
        h
    }

    fn ours(values: &[(u64, u64)]) -> Vec<(Bucket, u64)> {
        let mut counts = std::collections::BTreeMap::new();
        for (value, n) in values {
            *counts.entry(Bucket::of(*value)).or_insert(0) += n;
        }
        counts.into_iter().collect()
    }

    proptest! {
        #[test]
        fn a_bucket_has_the_librarys_bounds(value in 0..=HIGH) {
            let (bucket, library) = (Bucket::of(value), theirs(&[(value, 1), (HIGH, 1)]));
            prop_assert_eq!(bucket.lowest(), library.lowest_equivalent(value));
            prop_assert_eq!(bucket.highest(), library.highest_equivalent(value));
            prop_assert_eq!(bucket.middle(), library.median_equivalent(value));
        }

        #[test]
        fn the_library_reads_what_is_written(
            values in prop::collection::vec((0..=HIGH, 1..1_000_000_000u64), 1..40),
        ) {
            let bytes = encode(&ours(&values)).unwrap();
            let read: hdrhistogram::Histogram<u64> =
                Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            prop_assert_eq!(read, theirs(&values));
        }

        #[test]
        fn what_the_library_writes_is_read(
            values in prop::collection::vec((0..=HIGH, 1..1_000_000_000u64), 1..40),
        ) {
            let mut bytes = Vec::new();
            V2Serializer::new().serialize(&theirs(&values), &mut bytes).unwrap();
            prop_assert_eq!(decode(&bytes, HIGH), Some(ours(&values)));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut forged = encode(&[(Bucket(3), 5)]).unwrap();
            forged.truncate(HEADER);
            forged.extend_from_slice(&bytes);
            let length = u32::try_from(bytes.len()).unwrap();
            forged[4..8].copy_from_slice(&length.to_be_bytes());
            for (bucket, n) in decode(&forged, HIGH).into_iter().flatten() {
                prop_assert!(bucket <= Bucket::of(HIGH) && n > 0);
            }
            let _ = decode(&bytes, HIGH);
        }
    }

    #[test]
    fn the_largest_count_is_written_and_a_larger_one_is_not() {
        let most = i64::MAX.unsigned_abs();
        let counts = [(Bucket(0), most)];
        let bytes = encode(&counts).unwrap();
        assert_eq!(decode(&bytes, HIGH).as_deref(), Some(&counts[..]));
        assert_eq!(encode(&[(Bucket(0), most + 1)]), None);
        assert_eq!(decode(&bytes[..HEADER - 1], HIGH), None);
    }
}
