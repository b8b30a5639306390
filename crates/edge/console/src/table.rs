//! Columns.

/// The least width of a column, with its padding.
const COLUMN_MIN: usize = 10;
/// The blanks behind the widest cell of a column.
const PADDING: usize = 3;

/// Lines of cells in columns: as wide as the widest cell and three blanks, ten at least; the last
/// cell of a line is as wide as it is.
pub fn columns<C: AsRef<str>>(lines: &[Vec<C>]) -> String {
    columns_from(lines, COLUMN_MIN)
}

/// As [`columns`], with another least width of a column, its padding included.
pub fn columns_from<C: AsRef<str>>(lines: &[Vec<C>], least: usize) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let length = |cell: &C| cell.as_ref().chars().count();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .map(|cell| length(cell) + PADDING)
            .max()
            .unwrap_or(0)
            .max(least)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for line in lines {
        for (index, (cell, width)) in line.iter().zip(&widths).enumerate() {
            out.push_str(cell.as_ref());
            if index + 1 < line.len() {
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(length(cell))));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        assert_eq!(
            columns(&[vec!["NAME", "CONTAINER ID", "X"], vec!["ä", "4f5e", "yes"]]),
            "NAME      CONTAINER ID   X\nä         4f5e           yes\n"
        );
        assert_eq!(columns::<&str>(&[]), "");
    }
}
