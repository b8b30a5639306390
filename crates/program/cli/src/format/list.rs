//! Lists of things: a table, a template per thing, or JSON per thing.

use std::collections::BTreeMap;

use berth_console::table::columns;
use serde_json::Value;

use super::json::escape_html;
use super::template::Template;

/// A field that rows of a list have: its name in templates, and its heading in tables.
pub type Field = (&'static str, &'static str);

/// One thing: the values of its fields, in the order of the list's fields; texts, or `null`.
pub type Row = Vec<Value>;

/// How a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// A table of these fields, by index, with headings.
    Table(Vec<usize>),
    /// A line per thing.
    Lines(Template),
    /// JSON per thing.
    Json,
}

impl Layout {
    /// Reads `--format`; an empty one is the table `default`, which names fields.
    pub fn parse(format: &str, default: &[&str], fields: &[Field]) -> Result<Self, String> {
        let index = |name: &str| fields.iter().position(|(field, _)| *field == name);
        match format.trim() {
            "" | "table" => Ok(Self::Table(
                default.iter().filter_map(|name| index(name)).collect(),
            )),
            "json" | "{{json .}}" => Ok(Self::Json),
            other => match other.strip_prefix("table ") {
                None => {
                    let template = Template::parse(format)?;
                    template
                        .paths()
                        .try_for_each(|path| known(path, fields).map(drop))?;
                    Ok(Self::Lines(template))
                }
                Some(template) => Ok(Self::Table(table_columns(template, fields)?)),
            },
        }
    }

    /// Whether one of these fields is asked for.
    pub fn shows(&self, name: &str, fields: &[Field]) -> bool {
        let index = fields.iter().position(|(field, _)| *field == name);
        match self {
            Self::Json => false,
            Self::Table(cells) => cells.iter().any(|i| Some(*i) == index),
            Self::Lines(template) => template.paths().any(|path| path == [name]),
        }
    }

    /// The whole list as text.
    pub fn write(&self, rows: &[Row], fields: &[Field]) -> Result<String, String> {
        match self {
            Self::Table(cells) => Ok(table(cells, rows, fields)),
            Self::Json => Ok(rows
                .iter()
                .map(|row| format!("{}\n", row_json(row, fields)))
                .collect()),
            Self::Lines(template) => {
                let mut out = String::new();
                for row in rows {
                    out.push_str(&template.fill(&object(row, fields))?);
                    out.push('\n');
                }
                Ok(out)
            }
        }
    }
}

fn known(path: &[String], fields: &[Field]) -> Result<usize, String> {
    let [name] = path else {
        return Err("a list's template needs {{.Field}} or the whole {{json .}}".to_owned());
    };
    fields
        .iter()
        .position(|(field, _)| field == name)
        .ok_or_else(|| {
            let names: Vec<&str> = fields.iter().map(|(field, _)| *field).collect();
            format!(
                "template parsing error: there is no field .{name}; there are {}",
                names.join(", ")
            )
        })
}

/// The columns of `table {{.A}}\t{{.B}}`.
fn table_columns(template: &str, fields: &[Field]) -> Result<Vec<usize>, String> {
    let column = |text: &str| {
        let template = Template::parse(text)?;
        let paths: Vec<&[String]> = template.paths().collect();
        let only_field = text.trim().starts_with("{{") && text.trim().ends_with("}}");
        match paths[..] {
            [path] if only_field => known(path, fields),
            _ => Err(format!(
                "the table column {text:?} is not supported yet: put one {{{{.Field}}}} between \
                 tabs (\\t)"
            )),
        }
    };
    template
        .trim()
        .replace("\\t", "\t")
        .split('\t')
        .map(column)
        .collect()
}

fn table(cells: &[usize], rows: &[Row], fields: &[Field]) -> String {
    let heading: Vec<&str> = cells
        .iter()
        .map(|i| fields.get(*i).map_or("", |(_, h)| *h))
        .collect();
    let mut lines = vec![heading];
    for row in rows {
        lines.push(
            cells
                .iter()
                .map(|i| row.get(*i).and_then(Value::as_str).unwrap_or(""))
                .collect(),
        );
    }
    columns(&lines)
}

fn object(row: &Row, fields: &[Field]) -> Value {
    let pairs = fields.iter().zip(row);
    Value::Object(
        pairs
            .map(|((name, _), value)| ((*name).to_owned(), value.clone()))
            .collect(),
    )
}

/// A row as JSON, its keys sorted as Docker's are.
fn row_json(row: &Row, fields: &[Field]) -> String {
    let sorted: BTreeMap<&str, &Value> = fields
        .iter()
        .zip(row)
        .map(|((name, _), value)| (*name, value))
        .collect();
    escape_html(&serde_json::to_string(&sorted).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [Field; 3] = [
        ("ID", "CONTAINER ID"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
    ];

    fn list(format: &str) -> Result<String, String> {
        let rows = [
            vec!["4f5e6d7c8b9a".into(), "0B".into(), "a=b".into()],
            vec!["0".into(), "a->b".into(), "".into()],
        ];
        Layout::parse(format, &["ID", "Size"], &FIELDS)?.write(&rows, &FIELDS)
    }

    #[test]
    fn layouts() {
        for (format, wanted) in [
            (
                "",
                "CONTAINER ID   SIZE\n4f5e6d7c8b9a   0B\n0              a->b\n",
            ),
            (
                "table {{.Labels}}\\t{{.ID}}",
                "LABELS    CONTAINER ID\na=b       4f5e6d7c8b9a\n          0\n",
            ),
            ("{{.ID}}\\t{{.Size}}", "4f5e6d7c8b9a\t0B\n0\ta->b\n"),
            (
                "json",
                "{\"ID\":\"4f5e6d7c8b9a\",\"Labels\":\"a=b\",\"Size\":\"0B\"}\n\
                 {\"ID\":\"0\",\"Labels\":\"\",\"Size\":\"a-\\u003eb\"}\n",
            ),
        ] {
            assert_eq!(list(format).as_deref(), Ok(wanted), "{format}");
        }
        for bad in [
            "{{.Nope}}",
            "table {{.ID}} {{.Size}}",
            "table x",
            "{{range .}}",
            "{{.ID",
        ] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }
}
