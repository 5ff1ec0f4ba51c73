use super::*;
use crate::config::data::Format;
use proptest::prelude::*;

fn read_bytes(bytes: &[u8], wanted: &ReadOptions) -> Result<Table> {
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    read(file.path(), &mut Source::open(file.path())?, wanted)
}

fn table(text: &str) -> Result<Table> {
    read_bytes(text.as_bytes(), &ReadOptions::default())
}

#[test]
fn ls_and_bins() {
    let table = table("fromlumi;histo\n7;[1,2.5,3]\n5;[0, 0, 1e3]\n").unwrap();
    assert_eq!((table.format, table.width()), (Format::LsBins, 3));
    assert_eq!(table.values, [1.0, 2.5, 3.0, 0.0, 0.0, 1000.0]);
    assert_eq!(
        table.rows.iter().map(|row| (row.run, row.ls, row.line)).collect::<Vec<_>>(),
        [(None, 7, 2), (None, 5, 3)]
    );
}

#[test]
fn ml4dqm_with_repeated_names_and_flow_bins() {
    let text = "fromrun,fromlumi,fromrun,fromlumi,hname,histo,Xbins,Json\n297050,12,1,1,ME,\"[0, 1, 2, 0]\",2,True\n";
    let wanted = ReadOptions { required: vec!["Json".into()], ..ReadOptions::default() };
    let table = read_bytes(text.as_bytes(), &wanted).unwrap();
    assert_eq!((table.format, table.width(), table.flow_bins), (Format::Ml4dqm, 4, true));
    assert_eq!((table.rows[0].run, table.rows[0].ls), (Some(297050), 12));
    assert_eq!(table.columns["Json"], Column::Numbers(vec![1.0]));
}

#[test]
fn bad_rows_keep_line_and_reason() {
    let table = table("ls;histo\n1;[1,2]\n2;[1,2,3]\n3;[1,-2]\n4;[1,x]\n5;[1,nan]\nsix;[1,2]\n7;[1,2\n8\n9;[]\n10;[3,4]\n").unwrap();
    let faults: Vec<String> =
        table.faults.iter().map(|fault| format!("{}: {}", fault.line, fault.reason)).collect();
    assert_eq!(table.rows.len(), 2, "{faults:#?}");
    for (i, part) in [
        "3: 3 bins where most rows have 2",
        "4: bin 1 is -2",
        "5: bin 1 is \"x\"",
        "6: bin 1 is nan",
        "7: LS number is \"six\"",
        "8: the histogram has no closing",
        "9: 1 fields, so no histogram",
        "10: the histogram has no bins",
    ]
    .iter()
    .enumerate()
    {
        assert!(faults[i].starts_with(part), "{part} in {}", faults[i]);
    }
}

#[test]
fn a_row_that_cannot_be_read_is_still_known_by_run_and_ls() {
    let faults = table(
        "fromrun,fromlumi,histo\n297050,12,\"[1, 2]\"\n297050,13,\"[1, ?]\"\n297051,14,\"[1]\"\n",
    )
    .unwrap()
    .faults;
    assert_eq!(
        faults.iter().map(|fault| (fault.run, fault.ls)).collect::<Vec<_>>(),
        [(Some(297050), Some(13)), (Some(297051), Some(14))]
    );
}

#[test]
fn a_first_row_of_data_is_not_taken_for_a_header() {
    assert_eq!(table("3;[1,2]\n4;[3,4]\n").unwrap().rows.len(), 2);
}

#[test]
fn a_missing_column_names_what_was_looked_for() {
    let message = table("a,b\nx,y\n").unwrap_err().to_string();
    assert!(
        message.contains("no column of histograms") && message.contains("\"a, b\""),
        "{message}"
    );
    let wanted = ReadOptions { required: vec!["Jsn".into()], ..ReadOptions::default() };
    let message = read_bytes(b"fromrun,fromlumi,histo,Json\n1,1,\"[1]\",True\n", &wanted)
        .unwrap_err()
        .to_string();
    assert!(message.contains("did you mean \"Json\"?"), "{message}");
}

#[test]
fn several_elements_need_a_choice() {
    let text = "fromrun,fromlumi,hname,histo\n1,1,A,\"[1]\"\n1,1,B,\"[2]\"\n";
    assert!(table(text).unwrap_err().to_string().contains("data.me: A, B"));
    let wanted = ReadOptions { me: Some("B".into()), ..ReadOptions::default() };
    assert_eq!(read_bytes(text.as_bytes(), &wanted).unwrap().values, [2.0]);
}

fn faults(text: &str) -> Vec<String> {
    table(text)
        .unwrap()
        .faults
        .iter()
        .map(|fault| format!("{}: {}", fault.line, fault.reason))
        .collect()
}

fn refused(text: &str) -> String {
    table(text).unwrap_err().to_string()
}

#[test]
fn rows_have_a_field_for_each_column() {
    assert_eq!(
        faults("run,ls,a,note\n1,1,5,x\n1,2,5,x,7\n1,3,5,x,,\n1,4,5\n"),
        ["3: 5 fields where the header has 4", "5: 3 fields where the header has 4"]
    );
    // An extra field before the inputs is reported with its consequence.
    assert_eq!(
        faults("run,ls,note,a\n1,1,x,5\n1,2,1,5 m,5\n1,3,y,5\n"),
        ["3: \"a\" is \"5 m\", not a number; the row has 5 fields where the header has 4"]
    );
    assert_eq!(faults("ls;histo\n1;[1,2]\n2;[1,2];3\n"), ["3: 3 fields where the header has 2"]);
    // A delimiter after the last column of the header.
    assert_eq!(table("run,ls,a,\n1,1,5\n1,2,6,\n").unwrap().values, [5.0, 6.0]);
}

#[test]
fn lines_are_those_of_the_file() {
    let faults = |text: &str| faults(text)[0].clone();
    for end in ["\n", "\r\n", "\r"] {
        let text = ["# made by hand", "", "run,ls,a", "1,1,5", "", "", "1,2,x", ""].join(end);
        assert_eq!(faults(&text), "7: \"a\" is \"x\", not a number", "{end:?}");
    }
    assert_eq!(faults("run,ls,a\r\n1,1,5\n1,2,6\r1,3,x\r\n"), "4: \"a\" is \"x\", not a number");
}

#[test]
fn a_quote_that_swallows_rows_is_an_error_with_its_line() {
    let place = |text: &str| refused(text).split_once(".csv:").unwrap().1.to_owned();
    let rows = |notes: &[&str]| {
        notes.iter().enumerate().map(|(i, note)| format!("1,{i},{note},0.5\n")).collect::<String>()
    };
    for notes in [
        &["ok", "\"open", "ok", "ok"][..],
        &["ok", "\"open", "ok", "\"open"],
        &["ok", "\"open", "closed\""],
        &["\"ok\"", "\"open", "x", "\"ok\""],
    ] {
        let said = place(&format!("run,ls,note,a\n{}", rows(notes)));
        assert!(said.starts_with("3: a quote is opened and not closed"), "{notes:?}: {said}");
    }
    let fine = ["ok", "\"two\nlines, with 1, 2\"", "5\" pipe", "\"say \"\"so\"\"\""];
    assert_eq!(
        table(&format!("run,ls,note,a\n{}", rows(&fine)))
            .unwrap()
            .rows
            .iter()
            .map(|row| row.line)
            .collect::<Vec<_>>(),
        [2, 3, 5, 6]
    );
}

#[test]
fn a_column_is_what_most_of_its_entries_are() {
    let rows = |entry: &dyn Fn(usize) -> String| {
        (0..300).map(|i| format!("1,{i},{},0.5\n", entry(i))).collect::<String>()
    };
    let read = |entry: &dyn Fn(usize) -> String| {
        table(&format!("run;ls;x;a\n{}", rows(entry).replace(',', ";").replace('|', ","))).unwrap()
    };
    let features = |table: &Table| table.features.as_ref().unwrap().to_vec();
    // The column is numeric regardless of its first entry; other entries make unreadable rows.
    let table = read(&|i| if i == 0 { "NA".into() } else { i.to_string() });
    assert_eq!((features(&table), table.faults.len()), (vec!["x".to_owned(), "a".into()], 1));
    assert_eq!(
        table.faults[0].reason,
        "\"x\" is \"NA\"; expected a number, or a data.fill for missing ones"
    );
    let table = read(&|i| format!("{i}|5"));
    assert_eq!(table.faults.len(), 300);
    assert!(
        table.faults[0]
            .reason
            .starts_with("\"x\" is \"0,5\"; expected a number with a decimal point"),
        "{}",
        table.faults[0].reason
    );
    let table = read(&|i| if i % 3 == 0 { String::new() } else { "1".into() });
    assert!(
        table.faults.len() == 100 && table.faults[0].reason.starts_with("\"x\" is blank"),
        "{:?}",
        table.faults[0]
    );
    // Texts and blanks are reported.
    for (blank, what) in [(1, "text"), (60, "text"), (200, "text"), (299, "text"), (300, "blank")] {
        let table = read(&|i| if i < blank { String::new() } else { "noisy".into() });
        assert_eq!((features(&table), table.faults.len()), (vec!["a".to_owned()], 0));
        let expected = format!(
            "left out of the inputs: column 3 \"x\" ({what}); name them in data.columns.ignore if they are not meant to be"
        );
        assert_eq!(table.notes, [expected]);
    }
}

#[test]
fn a_column_that_is_blank_for_long_is_looked_at_to_its_end() {
    let mut text = "run,ls,a,note\n".to_owned();
    let rows = 300_000;
    (0..rows).for_each(|i| text += &format!("1,{i},0.12345678901234567890123,\n"));
    text += &format!("1,{rows},0.5,noisy\n");
    let table = table(&text).unwrap();
    assert_eq!(
        (table.rows.len(), table.faults.len(), table.features.as_deref()),
        (rows + 1, 0, Some(&["a".to_owned()][..]))
    );
    assert!(table.notes[0].contains("\"note\" (text)"), "{:?}", table.notes);
}

#[test]
fn a_file_needs_a_header() {
    let message = refused("297050,17,0.5\n297050,18,0.7\n");
    assert!(
        message.contains(":1: found the numbers 297050, 17, 0.5; expected a header"),
        "{message}"
    );
    // NumPy writes the names into a comment.
    let told = table("# made by hand\n# run,ls,a\n297050,17,0.5\n297050,18,0.7\n").unwrap();
    assert_eq!((told.rows[0].ls, told.rows[0].line, told.values), (17, 3, vec![0.5, 0.7]));
    let counted = table(",0,1,2\n0,5.5,6,7\n1,8,9,10\n").unwrap();
    assert_eq!((counted.width(), counted.events), (3, true));
}

#[test]
fn what_stands_before_the_header_is_passed_over() {
    for start in ["# one\n#two;\n", "sep=,\r\n", "\u{feff}", "\u{feff}\n\n# one\n"] {
        let table = table(&format!("{start}run,ls,a\n1,2,3\n")).unwrap();
        assert_eq!(
            (table.rows[0].run, table.values.as_slice()),
            (Some(1), [3.0].as_slice()),
            "{start:?}"
        );
    }
    let table = read_bytes(b"run,ls,\xe9ta,\xe8ta\n1,2,3,4\n", &ReadOptions::default()).unwrap();
    assert_eq!(table.features.as_deref(), Some(&["\u{e9}ta".to_owned(), "\u{e8}ta".into()][..]));
    assert!(table.notes[0].contains("not UTF-8"), "{:?}", table.notes);
}

#[test]
fn a_repeated_column_is_no_input() {
    let labelled = |text: &str| {
        read_bytes(
            text.as_bytes(),
            &ReadOptions { required: vec!["label".into()], ..ReadOptions::default() },
        )
    };
    let features = |table: &Table| table.features.as_ref().unwrap().to_vec();
    let same = labelled("run,ls,a,label,label\n1,1,5,1,1.0\n1,2,6,0,0\n").unwrap();
    assert_eq!((features(&same), same.notes.len()), (vec!["a".to_owned()], 1));
    assert!(
        same.notes[0].starts_with(
            "column 4 \"label\" and column 5 \"label\" have one name and hold the same"
        ),
        "{:?}",
        same.notes
    );
    for (header, parts) in [
        ("run,ls,a,label,label", ["column 4 \"label\" and column 5 \"label\"", "first in line 3"]),
        (
            "run,ls,a,label.1,label",
            ["column 5 \"label\" and column 4 \"label.1\"", "data.columns.ignore"],
        ),
        ("run,ls,a,label,Label", ["column 4 \"label\" and column 5 \"Label\"", "only in case"]),
        (
            "label,ls,a,fromrun,run_number",
            ["column 4 \"fromrun\" and column 5 \"run_number\"", "data.columns.run = \"fromrun\""],
        ),
        ("run,label,a,ls,lumi", ["column 4 \"ls\" and column 5 \"lumi\"", "data.columns.ls"]),
        ("run,ls,label,a,a", ["column 4 \"a\" and column 5 \"a\"", "rename or remove"]),
        (
            "run,ls,label,a,a_duplicated_0",
            ["column 4 \"a\" and column 5 \"a_duplicated_0\"", "data.columns.features"],
        ),
    ] {
        let message =
            labelled(&format!("{header}\n1,1,1,1,1\n1,1,1,1,0\n")).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{header}: {message}");
    }
    // Names that differ only in case may be two inputs, which is reported.
    let two = table("run,ls,pT,PT\n1,1,5,6\n").unwrap();
    assert_eq!(two.width(), 2);
    assert!(two.notes[0].contains("differ only in case or blanks"), "{:?}", two.notes);
}

#[test]
fn the_config_says_which_of_two_columns_is_meant() {
    let read = |columns: &str, text: &str| {
        let data: crate::config::data::Data =
            toml::from_str(&format!("columns = {columns}")).unwrap();
        let table = read_bytes(text.as_bytes(), &ReadOptions::new(&data)).unwrap();
        (table.rows[0].run, table.features.unwrap().to_vec())
    };
    let text = "fromrun,run_number,ls,a,a.1\n1,2,3,4,5\n";
    assert_eq!(
        read("{ run = \"run_number\", ignore = [\"a.1\"] }", text),
        (Some(2), vec!["a".to_owned()])
    );
    assert_eq!(
        read("{ run = \"fromrun\", features = [\"a\", \"a.1\"] }", text),
        (Some(1), vec!["a".to_owned(), "a.1".into()])
    );
}

#[test]
fn usual_names_may_be_written_with_blanks() {
    let table = table("Run Number, LS ,a\n297050,7,5\n").unwrap();
    assert_eq!((table.rows[0].run, table.rows[0].ls, table.width()), (Some(297050), 7, 1));
}

proptest! {
    #[test]
    fn any_numbers_come_back_as_they_were_written(rows in prop::collection::vec(prop::collection::vec(0.0_f32..1e9, 4), 1..20)) {
        let mut text = String::from("ls;histo\n");
        for (i, row) in rows.iter().enumerate() {
            text += &format!("{};[{}]\n", i + 1, row.iter().map(f32::to_string).collect::<Vec<_>>().join(", "));
        }
        let read = table(&text).unwrap();
        prop_assert_eq!(read.values, rows.concat());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(fromlumi;histo\n)?[0-9;\\[\\],.\n\"a-]{0,200}") {
        let _ = table(&text);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_bytes(&bytes, &ReadOptions::default());
    }
}
