/// Where a unikernel's text goes: the standard output of a process, a guest's serial port.
pub trait Console: Clone + 'static {
    /// Writes `bytes`.
    ///
    /// Returns at once, best effort: bytes that the other side does not take are dropped, so a
    /// stuck reader never stops the unikernel. Bytes of one call stay together and in order, and
    /// come after those of every earlier call of any clone. Nothing is durable. The caller keeps
    /// the buffer. Never fails.
    fn write(&self, bytes: &[u8]);
}
