//! How results look: tables, templates, JSON, and sizes and times for people.

pub mod human;
pub mod json;
pub mod list;
pub mod port;
pub mod template;
pub mod text;
