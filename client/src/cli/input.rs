//! Input that may never arrive: from a terminal, or from a pipe without a writer.

/// Runs a blocking read on a thread of its own, so that a signal still ends the program meanwhile.
///
/// # Errors
/// If `read` panics.
pub(crate) async fn read<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(read).await?)
}
