/// Starting tasks.
pub trait Spawn: Clone + 'static {
    /// The handle of a task whose future yields `T`.
    type Task<T: 'static>: Task<T>;

    /// Starts `future` as a task of its own. Returns at once; the task first runs after the
    /// caller next waits. Tasks first run in the order in which they were started. Dropping the
    /// handle cancels the task: its future is dropped before the executor waits again.
    fn spawn<F: Future + 'static>(&self, future: F) -> Self::Task<F::Output>;
}

/// A running task. Awaiting it waits for its output. Dropping it cancels the task: use
/// [`Task::detach`] to let it go on alone.
pub trait Task<T>: Future<Output = T> + Unpin + 'static {
    /// Lets the task run to its end with nobody waiting. Returns at once.
    fn detach(self);
}
