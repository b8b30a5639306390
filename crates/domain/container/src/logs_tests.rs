use std::fs;
use std::io::Write;
use std::path::PathBuf;

use berth_shim::log::{Writer, file_name};
use berth_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

/// A directory for one log, removed at the end.
struct Place(PathBuf);

const ID: ContainerId = ContainerId::from_bytes([7; 32]);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("berth-logs-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn writer(&self, max_size: u64, max_files: u32) -> Writer {
        let directory = fs::File::open(&self.0).unwrap();
        Writer::open(directory.as_fd(), file_name(&ID), max_size, max_files).unwrap()
    }

    fn reader(&self, options: LogOptions) -> LogReader {
        LogReader::open(&self.0, &ID, options).unwrap()
    }

    fn file(&self, number: u32) -> PathBuf {
        self.0.join(segment_name(&file_name(&ID), number))
    }

    fn all(&self) -> String {
        texts(&mut self.reader(LogOptions::default()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

/// Everything that there is now, joined.
fn texts(reader: &mut LogReader) -> String {
    let mut text = String::new();
    while let Some(record) = reader.next().unwrap() {
        text.push_str(std::str::from_utf8(&record.data).unwrap());
    }
    text
}

fn lines(range: std::ops::RangeInclusive<u32>) -> String {
    range.map(|n| format!("line {n}\n")).collect()
}

#[test]
fn what_is_written_is_read() {
    let place = Place::new("whole");
    let mut log = place.writer(1 << 20, 1);
    log.write(Stream::Stdout, b"plain\nbe", at(1));
    log.write(
        Stream::Stderr,
        "\"q\" <\u{2028}é\u{1}\t\r\n".as_bytes(),
        at(2),
    );
    log.write(Stream::Stdout, b"gun\n\nbad \xff\xe2\x82\nopen", at(3));
    assert_eq!(
        place.all(),
        "plain\n\"q\" <\u{2028}é\u{1}\t\r\nbegun\n\nbad \u{fffd}\u{fffd}\u{fffd}\n"
    );
    log.finish(Stream::Stdout, at(4));
    log.finish(Stream::Stderr, at(4));

    let mut reader = place.reader(LogOptions::default());
    let mut records = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        records.push((record.stream, record.time));
    }
    use Stream::{Stderr, Stdout};
    assert_eq!(
        records,
        [
            (Stdout, at(1)),
            (Stderr, at(2)),
            (Stdout, at(3)),
            (Stdout, at(3)),
            (Stdout, at(3)),
            (Stdout, at(4))
        ]
    );
    let raw = fs::read_to_string(place.file(0)).unwrap();
    assert!(raw.starts_with("{\"log\":\"plain\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:01Z\",\"berth\":1}\n"));
    assert_eq!(raw.matches("\"berth\"").count(), 1);
}

#[test]
fn long_lines_come_back_whole_in_pieces_of_16_kib() {
    for cut in [1, 1000, 16_384, 20_000, 65_536] {
        let place = Place::new(&format!("long-{cut}"));
        let mut log = place.writer(64 << 20, 1);
        let mut sent: String = "ab€".repeat(12_000);
        sent.push_str("\nshort\n");
        for piece in sent.as_bytes().chunks(cut) {
            log.write(Stream::Stdout, piece, at(1));
        }
        let mut reader = place.reader(LogOptions::default());
        let (mut text, mut ends) = (String::new(), Vec::new());
        while let Some(record) = reader.next().unwrap() {
            assert!(record.data.len() <= 16_384);
            ends.push(record.data.ends_with(b"\n"));
            text.push_str(std::str::from_utf8(&record.data).unwrap());
        }
        assert!(text == sent, "cut into {cut}");
        assert_eq!(ends, [false, false, false, true, true]);
    }
}

#[test]
fn tail_since_and_until() {
    let place = Place::new("tail");
    let mut log = place.writer(300, 20);
    for n in 1..=20 {
        log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), at(n));
    }
    assert!(place.file(3).exists());
    let read = |options| texts(&mut place.reader(options));
    let all = LogOptions::default();
    assert_eq!(
        read(LogOptions {
            tail: Some(7),
            ..all
        }),
        lines(14..=20)
    );
    assert_eq!(
        read(LogOptions {
            tail: Some(0),
            ..all
        }),
        ""
    );
    assert_eq!(
        read(LogOptions {
            tail: Some(500),
            ..all
        }),
        lines(1..=20)
    );
    assert_eq!(
        read(LogOptions {
            since: Some(at(18)),
            ..all
        }),
        lines(18..=20)
    );
    assert_eq!(
        read(LogOptions {
            tail: Some(7),
            until: Some(at(15)),
            ..all
        }),
        lines(14..=15)
    );
    let mut reader = place.reader(LogOptions {
        until: Some(at(2)),
        ..all
    });
    assert_eq!(texts(&mut reader), lines(1..=2));
    assert!(reader.is_finished());
    // Followed from the end.
    let mut reader = place.reader(LogOptions {
        tail: Some(0),
        ..all
    });
    log.write(Stream::Stdout, b"line 21\n", at(21));
    assert_eq!(texts(&mut reader), "line 21\n");
}

#[test]
fn follows_over_any_number_of_rotations() {
    let place = Place::new("follow");
    let mut reader = place.reader(LogOptions::default());
    assert_eq!(texts(&mut reader), "", "there is no log yet");
    let watch = |reader: &LogReader| {
        let fd = reader.watch_fd().unwrap();
        let mut ready = [PollFd::new(&fd, PollFlags::IN)];
        poll(
            &mut ready,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        )
        .unwrap()
            == 1
    };
    assert!(!watch(&reader));
    let mut log = place.writer(250, 50);
    let mut seen = String::new();
    for n in 1..=100_u32 {
        log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), at(1));
        assert!(n % 7 == 1 || watch(&reader));
        // Sometimes several files behind, sometimes in the middle of one.
        if n % 7 == 0 {
            seen += &texts(&mut reader);
            assert!(!watch(&reader));
        }
    }
    seen += &texts(&mut reader);
    assert_eq!(seen, lines(1..=100));
}

#[test]
fn a_reader_that_rotation_overtakes_goes_on_with_the_oldest_file() {
    let place = Place::new("overtaken");
    let mut log = place.writer(250, 2);
    log.write(Stream::Stdout, b"line 1\n", at(1));
    let mut reader = place.reader(LogOptions::default());
    assert_eq!(texts(&mut reader), "line 1\n");
    for n in 2..=50 {
        log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), at(1));
    }
    let left = place.all();
    assert!(left.ends_with("line 50\n") && !left.contains("line 10\n"));
    let seen = texts(&mut reader);
    // What was in the file that it had open is not lost to it either.
    assert!(seen.ends_with(&left) && seen.starts_with("line 2\n"));
    assert!(!place.file(2).exists());
}

#[test]
fn a_rotation_that_was_killed_half_way_loses_and_repeats_nothing() {
    // Three files are kept; the renames are 1 to 2, then 0 to 1, then 0 is made anew.
    for renames_done in 0..=2 {
        let place = Place::new(&format!("killed-{renames_done}"));
        let mut log = place.writer(150, 4);
        for n in 1..=4 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), at(1));
        }
        drop(log);
        assert!(place.file(1).exists() && !place.file(2).exists());
        let renames = [(1, 2), (0, 1)];
        for (from, to) in renames.iter().take(renames_done) {
            fs::rename(place.file(*from), place.file(*to)).unwrap();
        }
        assert_eq!(place.all(), lines(1..=4), "{renames_done} renames");
        // The next monitor writes on, and rotates on.
        let mut log = place.writer(150, 4);
        for n in 5..=7 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), at(1));
        }
        assert_eq!(place.all(), lines(1..=7), "{renames_done} renames");
    }
}

#[test]
fn a_torn_end_costs_one_record() {
    let place = Place::new("torn");
    place
        .writer(1 << 20, 2)
        .write(Stream::Stdout, b"line 1\n", at(1));
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(place.file(0))
        .unwrap();
    file.write_all(b"{\"log\":\"li").unwrap();
    let mut follower = place.reader(LogOptions::default());
    assert_eq!(texts(&mut follower), "line 1\n");
    assert_eq!(texts(&mut follower), "", "the rest may still come");

    let mut log = place.writer(1 << 20, 2);
    log.write(Stream::Stdout, b"line 2\n", at(1));
    assert_eq!(texts(&mut follower), "line 2\n");
    assert_eq!(place.all(), lines(1..=2));
    // Garbage of any length is passed over.
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(place.file(0))
        .unwrap();
    file.write_all(&vec![b'x'; 1 << 20]).unwrap();
    file.write_all(b"\n{}\n[1]\n").unwrap();
    log.write(Stream::Stdout, b"line 3\n", at(1));
    assert_eq!(texts(&mut follower), "line 3\n");
    assert_eq!(
        texts(&mut place.reader(LogOptions {
            tail: Some(1),
            ..Default::default()
        })),
        "line 3\n"
    );
}

#[test]
fn fewer_files_than_before_are_kept_from_the_start() {
    let place = Place::new("prune");
    let mut log = place.writer(150, 5);
    for n in 1..=20 {
        log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), at(1));
    }
    assert!(place.file(4).exists());
    drop(log);
    let mut log = place.writer(150, 1);
    assert!(!place.file(1).exists());
    for n in 21..=30 {
        log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), at(1));
    }
    assert!(!place.file(1).exists());
    assert!(place.all().ends_with("line 30\n"));
}
