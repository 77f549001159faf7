//! The directory on a real file system.

use super::{SEGMENT, log_of, open, write};
use crate::storage::{
    file_names::{SPARES, segment_name},
    wal::{Directory, Disk, DiskError, Identity, Wal, format},
};
use model::Durable;
use std::sync::Arc;
use transport::Environment;

#[test]
fn directory_of_another_server_cluster_or_format_is_refused() {
    let (files, _) = log_of(1);
    let with = |cluster: &str, node| {
        let identity = Identity {
            cluster: cluster.into(),
            node,
        };
        let (files, threads) = (Arc::new(files.clone()), Environment::system().threads);
        Wal::open(files, identity, SEGMENT, 1, threads).map(|_| ())
    };
    let node = with("test", 2).unwrap_err();
    assert!(matches!(
        node,
        DiskError::OtherNode {
            found: 1,
            expected: 2,
            ..
        }
    ));
    let cluster = with("other", 1).unwrap_err();
    assert!(matches!(cluster, DiskError::OtherCluster { .. }));
    assert!(cluster.to_string().contains("\"test\""), "{cluster}");
    files.edit(1, |bytes| bytes[8] = 9);
    assert!(matches!(
        with("test", 1),
        Err(DiskError::Format { found: 9, .. })
    ));
}

#[test]
fn directory_in_use_is_refused_until_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er");
    let (wal, _) = open(Directory::open(&path).unwrap()).unwrap();
    let error = Directory::open(&path).unwrap_err();
    assert!(matches!(error, DiskError::InUse { .. }), "{error}");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    drop(wal);
    open(Directory::open(&path).unwrap()).unwrap();
}

#[test]
fn file_in_place_of_the_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Directory::open(file.path()).unwrap_err();
    assert!(matches!(error, DiskError::Unusable { .. }), "{error}");
}

#[test]
fn special_file_in_place_of_one_of_ours_is_refused_with_advice_that_works() {
    for name in ["metadata", "lock", "log-0000000001.wal"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let error = Directory::open(dir.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(name), "{text}");
        assert!(text.contains("put it back"), "{text}");
        assert!(text.contains("\"A lost disk\""), "{text}");
        assert!(!text.contains("may write to"), "{text}");
        assert!(!text.contains("remove it"), "{text}");
    }
    for name in ["metadata.new", "spare.wal"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let text = Directory::open(dir.path()).unwrap_err().to_string();
        assert!(text.contains("move it away"), "{text}");
        std::fs::remove_dir(dir.path().join(name)).unwrap();
        Directory::open(dir.path()).unwrap();
    }
}

#[test]
fn real_files_hold_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut durable = Durable::default();
    for _ in 0..3 {
        let (mut wal, found) = open(Directory::open(dir.path()).unwrap()).unwrap();
        assert_eq!(found, durable);
        for number in 0..10 {
            let next = write(&durable, number % 3 == 0, number % 2, 2, 400);
            wal.write(std::slice::from_ref(&next)).unwrap();
            durable.apply(&next);
        }
    }
    assert!(dir.path().join(segment_name(2)).exists());
    // An incomplete spare does not prevent a start.
    std::fs::write(dir.path().join(SPARES[0]), b"half").unwrap();
    let (_, found) = open(Directory::open(dir.path()).unwrap()).unwrap();
    assert_eq!(found, durable);
    // Nor does one if the last segment has no record and is therefore rewritten.
    for spare in SPARES {
        std::fs::write(dir.path().join(spare), b"half").unwrap();
    }
    std::fs::write(dir.path().join("lock"), format::encode_record(1)).unwrap();
    let (_, found) = open(Directory::open(dir.path()).unwrap()).unwrap();
    assert_eq!(found, durable);
}
