//! A sample of the keys, read without delaying the view.

use super::{PATIENCE, status::Keys};
use crate::{http::kv, kv_service::KvService};
use client::KeyValue as _;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// The number of keys in the view.
const MAX_KEYS: u32 = 25;
/// The maximum length of each value in bytes.
const MAX_VALUE: usize = 120;
/// The maximum age of fresh keys. Older keys are marked as stale.
const FRESH: Duration = Duration::from_secs(3);

/// Reads the keys, and remembers the keys of the last read.
pub(super) struct KeySampler {
    /// Its reads do not count as load.
    kv_service: KvService,
    last: Arc<Mutex<LastRead>>,
    /// Whether a read is in progress.
    is_reading: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct LastRead {
    keys: Keys,
    at: Option<Instant>,
}

impl KeySampler {
    pub(super) fn new(kv_service: KvService) -> Self {
        Self {
            kv_service,
            last: Arc::default(),
            is_reading: Arc::default(),
        }
    }

    /// Returns the current keys, or the keys of the last read if the cluster does not respond in time.
    /// Only one read is in progress at a time, because reads would pile up while the cluster is down.
    pub(super) async fn sample(&self) -> Keys {
        if !self.is_reading.swap(true, Relaxed) {
            let (kv_service, last) = (self.kv_service.clone(), Arc::clone(&self.last));
            let is_reading = Arc::clone(&self.is_reading);
            let read = tokio::spawn(async move {
                if let Ok(page) = kv_service.scan(Vec::new(), None, MAX_KEYS).await {
                    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                    last.keys = Keys::new(&page);
                    last.at = Some(Instant::now());
                }
                is_reading.store(false, Relaxed);
            });
            // After a timeout or an error, the keys of the last read are used.
            let _ = tokio::time::timeout(PATIENCE, read).await;
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Keys {
            fresh: last.at.is_some_and(|at| at.elapsed() < FRESH),
            ..last.keys.clone()
        }
    }
}

impl Keys {
    fn new(page: &model::store::Page) -> Self {
        let items = page.pairs.iter().map(|(key, found)| {
            let whole = found.value.len();
            let mut value = &found.value[..whole.min(MAX_VALUE)];
            if whole > MAX_VALUE
                && let Err(error) = str::from_utf8(value)
                && error.error_len().is_none()
            {
                // The truncation may split a character; the text before it is valid.
                value = &value[..error.valid_up_to()];
            }
            let mut item = kv::pair(key, value, found.version);
            if whole > MAX_VALUE {
                item.insert("cut".to_owned(), whole.into());
            }
            item
        });
        Self {
            items: items.collect(),
            more: page.more,
            fresh: false,
        }
    }
}
