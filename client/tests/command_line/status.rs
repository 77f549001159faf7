//! Status and health.

use crate::{
    expect, run,
    support::{Manner, start},
    web,
};

#[test]
fn status_and_health_say_so() {
    let at = start(Manner::Whole);
    expect(&run(at, "health"), 0, "healthy\n");
    expect(&run(at, "health -o json"), 0, "{\"healthy\":true}\n");
    expect(&run(at, "status -o plain"), 0, "healthy\n");
    let status = run(at, "status");
    assert!(status.out.contains("stateraft"), "{status:?}");
    assert!(status.out.contains(&at.to_string()), "{status:?}");
    let json = run(at, "status -o json");
    let state: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(state["healthy"], true);
}

#[test]
fn status_and_health_over_http_follow_the_answer() {
    let nobody = start(Manner::Silent);
    let good = web("HTTP/1.0 200 OK\r\n\r\n{\"leader\":1}");
    expect(
        &run(nobody, &format!("status -o json --http {good}")),
        0,
        "{\"leader\":1}\n",
    );
    expect(
        &run(nobody, &format!("health --http {good}")),
        0,
        "healthy\n",
    );
    let bad = web("HTTP/1.0 503 Service Unavailable\r\n\r\nno leader");
    let health = run(nobody, &format!("health --http {bad}"));
    expect(&health, 3, "");
    assert!(health.err.contains("no leader"), "{health:?}");
    let other = web("HTTP/1.0 200 OK\r\n\r\n<html>");
    expect(&run(nobody, &format!("status --http {other}")), 3, "");
}

#[test]
fn status_and_errors_escape_what_controls_a_terminal() {
    let nobody = start(Manner::Silent);
    let at = web(concat!(
        "HTTP/1.0 200 OK\r\n\r\n",
        r#"{"cluster":"n\u001b]0;x\u0007","health":{"state":"ok","leader":["\u009b1m"],"term":"\u202e"},"nodes":["#,
        r#"{"id":"\u001b1","status":{"role":"a\u001b[2Jb","suspended":"\u001b[31m"}},"#,
        r#"{"id":2,"status":null,"problem":"c\r\nd\u007f"}]}"#,
    ));
    let bad = web("HTTP/1.0 503 \x1b[2J\r\n\r\nno \x1b[31mleader\u{9b}\u{202e}\n");
    let other = web("HTTP/1.0 200 OK\r\n\r\n\x1b[2J");
    for (at, arguments, code, says) in [
        (
            at,
            "status",
            0,
            &[r"n\u{1b}]0;x\u{7}", r"\u{1b}[31m", r"c\r\nd\u{7f}"][..],
        ),
        (at, "status -o plain", 0, &["role unknown", r"\u{202e}"]),
        (bad, "status", 3, &[r"no \u{1b}[31mleader\u{9b}\u{202e}"]),
        (bad, "health -o plain", 3, &[r"\u{1b}[2J"]),
        (other, "status", 3, &["is it a proxy?"]),
    ] {
        let run = run(nobody, &format!("{arguments} --http {at}"));
        assert_eq!(run.code, Some(code), "{run:?}");
        let shown = run.out + &run.err;
        for says in says {
            assert!(shown.contains(says), "{arguments}: {says} in {shown}");
        }
        let controls = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!shown.contains(controls), "{arguments}: {shown:?}");
    }
}

#[test]
fn status_shows_leader_term_members_and_lag() {
    let nobody = start(Manner::Silent);
    let at = web(concat!(
        "HTTP/1.0 200 OK\r\n\r\n",
        r#"{"cluster":"north","health":{"state":"ok","servers":3,"up":2,"majority":2,"margin":0,"#,
        r#""leader":2,"term":17,"commit_index":123456,"commit_age_ms":0},"nodes":["#,
        r#"{"id":1,"status":{"role":"follower","term":17,"commit_index":123450,"durable_index":123455,"#,
        r#""last_index":123456},"problem":null,"age_ms":0},"#,
        r#"{"id":2,"status":{"role":"leader","term":17,"commit_index":123456,"durable_index":123456,"#,
        r#""last_index":123456,"followers":{"1":{"lag":7,"counts":true},"3":{"lag":991},"#,
        r#""4":{"lag":99,"match_index":0,"flow":"probe","counts":false},"5":{"lag":0,"counts":false}}},"problem":null,"age_ms":0},"#,
        r#"{"id":4,"status":{"role":"follower","term":17},"problem":null,"age_ms":0},"#,
        r#"{"id":5,"status":{"role":"follower","term":0,"suspended":"this server does not count toward a quorum: another disk"},"problem":null,"age_ms":0},"#,
        r#"{"id":3,"status":null,"problem":"no answer in time","age_ms":12000,"#,
        r#""last":{"role":"follower","term":16,"commit_index":122465,"durable_index":122465,"last_index":122465}}]}"#,
    ));
    let table = run(nobody, &format!("status --http {at}"));
    assert_eq!(table.code, Some(0), "{table:?}");
    let row = |start: &str| {
        let cells = |line: &str| -> Vec<String> {
            line.split(['│', '┆'])
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        let mut rows = table.out.lines().map(cells);
        let found = rows.find(|cells| cells.get(1).is_some_and(|first| first == start));
        found.unwrap_or_else(|| panic!("no row {start} in {table:?}"))
    };
    assert_eq!(
        row("north")[1..7],
        [
            "north",
            "2",
            "17",
            "123456",
            "2 of 3",
            "ok, 0 more may fail"
        ]
    );
    assert_eq!(
        row("1")[1..8],
        ["1", "follower", "17", "123450", "123455", "123456", "7"]
    );
    assert_eq!(row("2")[7], "-");
    let silent = row("3");
    assert_eq!(
        silent[2..8],
        ["no answer", "16", "122465", "122465", "122465", "991"]
    );
    assert_eq!(silent[8], "no answer in time; as it was 12 s ago");
    assert_eq!(row("1")[8], "");
    assert_eq!(row("4")[7], "-");
    assert_eq!(row("4")[8], "does not count toward a quorum");
    let suspended = "this server does not count toward a quorum: another disk";
    assert_eq!(row("5")[8], suspended);
    let plain = run(nobody, &format!("status -o plain --http {at}"));
    for line in [
        "leader 2",
        "term 17",
        "margin 0",
        "server 3 role no_answer term 16 committed 122465 durable 122465 last 122465 lag 991",
    ] {
        assert!(
            plain.out.lines().any(|found| found == line),
            "{line}: {plain:?}"
        );
    }
}
