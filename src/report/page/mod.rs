//! `report.html`: a self-contained page. Its data are collected here ([`data`]; for several
//! experiments [`comparison`]; for the lumisection viewer [`frames`]). The scripts `base.js`,
//! `maps.js`, `viewer.js`, `sweep.js`, `sensitivity.js` and `page.js` draw it with ECharts.

pub mod comparison;
pub mod data;
pub mod frames;
mod packed;
mod shown;

use crate::{
    error::{Error, Result},
    files::folder::{Folder, names},
    palette,
};
use serde_json::Value;

const SKELETON: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: [&str; 6] = [
    include_str!("base.js"),
    include_str!("maps.js"),
    include_str!("viewer.js"),
    include_str!("sweep.js"),
    include_str!("sensitivity.js"),
    include_str!("page.js"),
];
const LIBRARY: &str = include_str!("assets/echarts.min.js");

/// The page that draws `data`.
pub fn html(title: &str, data: &Value) -> Result<String> {
    let failed = |error: serde_json::Error| Error::failed(format!("report.html: {error}"));
    // Escapes `<` in JSON, because it could end a script element.
    let data = serde_json::to_string(data).map_err(failed)?.replace('<', "\\u003c");
    let fill = |name: &str| match name {
        "TITLE" => title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        "PALETTE" => palette::css(),
        "STYLE" => STYLE.into(),
        "LIBRARY" => LIBRARY.into(),
        "SCRIPT" => SCRIPT.join("\n"),
        "DATA" => data.clone(),
        _ => String::new(),
    };
    // In one pass, so that inserted text is not parsed again.
    let mut parts = SKELETON.split("{{");
    let mut page = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        page.push_str(&fill(name));
        page.push_str(rest);
    }
    Ok(page)
}

/// Writes `report.html` into an experiment folder.
pub fn write(folder: &Folder, title: &str, data: &Value) -> Result<()> {
    folder.write(names::PAGE, html(title, data)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_ends_the_script() {
        let page = html("a <b> & c", &serde_json::json!({"name": "</script><img src=x>{{STYLE}}"}))
            .unwrap();
        assert!(page.contains("<title>a &lt;b&gt; &amp; c</title>"));
        assert!(
            page.contains("\\u003c/script>\\u003cimg src=x>{{STYLE}}"),
            "inserted text is not parsed again"
        );
        assert_eq!(page.matches("id=\"data\"").count(), 1);
        assert!(
            page.contains("--flagged:#c84a00") && !page.contains("{{PALETTE}}"),
            "with its colours"
        );
        assert!(
            !page.contains("{{DATA}}")
                && !page.contains("{{SCRIPT}}")
                && !page.contains("{{LIBRARY}}")
        );
    }
}
