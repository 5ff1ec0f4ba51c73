//! Reads luminosities of brilcalc (CSV).

use super::info::{LumiInfo, Origin};
use crate::{
    config::Value,
    data::{
        read::{names, text::Source},
        table::is_missing,
    },
    error::{Error, Result},
};
use std::{collections::BTreeSet, path::Path};

/// `#run:fill,ls,time,beamstatus,E(GeV),delivered(/ub),recorded(/ub),avgpu,source`, then rows
/// with `run:fill` and `ls:ls`.
pub fn read(info: &mut LumiInfo, path: &Path, wanted: &BTreeSet<String>) -> Result<()> {
    let text = Source::open(path)?.rest(path)?;
    let text = String::from_utf8_lossy(&text);
    let place = |line: usize, reason: &str| {
        let path = path.display();
        Error::input(format!(
            "{path}:{}: {reason}; expected what `brilcalc lumi --byls --output-style csv` writes",
            line + 1
        ))
    };
    let mut header: Vec<&str> = vec![];
    for (number, line) in text.lines().enumerate() {
        if let Some(names) = line.strip_prefix("#run:fill,ls,") {
            header = names
                .split(',')
                .map(|name| name.split('(').next().unwrap_or(name).trim())
                .collect();
            info.names.extend(header.iter().map(|name| (*name).to_owned()));
            let known: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
            names::refuse_repeated(
                path,
                &known,
                (0..known.len()).filter(|at| wanted.contains(header[*at])),
            )?;
            continue;
        }
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if header.is_empty() {
            return Err(place(number, "no header \"#run:fill,ls,…\" above the first row"));
        }
        let fields: Vec<&str> = line.split(',').collect();
        let first = |at: usize| {
            fields.get(at).and_then(|field| field.split(':').next()?.trim().parse::<u32>().ok())
        };
        let (Some(run), Some(ls)) = (first(0), first(1)) else {
            return Err(place(number, "a row without run:fill and ls:ls"));
        };
        if fields.len() != header.len() + 2 {
            return Err(place(
                number,
                &format!("{} fields where the header has {}", fields.len(), header.len() + 2),
            ));
        }
        for (name, field) in
            header.iter().zip(&fields[2..]).filter(|(name, _)| wanted.contains(**name))
        {
            let field = field.trim();
            let known = || field.parse().map_or_else(|_| Value::Text(field.into()), Value::Number);
            let value = if is_missing(field) { Value::Unknown } else { known() };
            info.set(path, name, Origin::Brilcalc, (run, ls), value)?;
        }
    }
    if header.is_empty() { Err(place(0, "no header \"#run:fill,ls,…\"")) } else { Ok(()) }
}
