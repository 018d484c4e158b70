//! Plain text, set to a width.

use std::fmt::Write as _;

/// The widest line, in characters.
pub const WIDTH: usize = 118;

/// Text from elsewhere on one line: control characters can't move a terminal's cursor.
pub fn plain(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

/// Rows in columns as wide as their widest cell; the first column is left-aligned, the others
/// right-aligned.
pub fn table(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(i) {
                Some(w) => *w = width.max(*w),
                None => widths.push(width),
            }
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = plain(cell);
            // Writing to a string does not fail.
            let _ = match i {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A label, then text wrapped to [`WIDTH`] behind it, all lines of it indented alike.
pub fn paragraph(label: &str, indent: usize, text: &str) -> String {
    let mut out = String::new();
    let mut line = format!("{label:<indent$}");
    let mut fresh = true;
    for word in plain(text).split(' ') {
        if !fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(indent);
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(word);
        fresh = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["a".into(), "1".into()],
            vec!["bcd".into(), "234".into()],
        ];
        assert_eq!(table(&rows), "a      1\nbcd  234\n");
    }

    #[test]
    fn long_text_is_wrapped_behind_its_label() {
        let text = "word ".repeat(40);
        let wrapped = paragraph("Knee:", 8, text.trim_end());
        assert!(wrapped.lines().all(|l| l.len() <= WIDTH));
        assert_eq!(wrapped.lines().count(), 2);
        assert!(wrapped.starts_with("Knee:   word") && wrapped.contains("\n        word"));
    }

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(plain("a\x1b[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
    }
}
