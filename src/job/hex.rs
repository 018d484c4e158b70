//! Bytes as lower-case hexadecimal digits, in one spelling.

/// The digits of these bytes.
pub(crate) fn text(bytes: &[u8]) -> String {
    let digit = |b: u8| if b < 10 { b'0' + b } else { b'a' + b - 10 };
    let mut digits = Vec::with_capacity(bytes.len() * 2);
    for b in bytes {
        digits.push(digit(b >> 4));
        digits.push(digit(b & 0xf));
    }
    String::from_utf8(digits).unwrap_or_default()
}

/// The `N` bytes that exactly these digits stand for.
pub(crate) fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}
