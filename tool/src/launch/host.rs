//! An ordinary program on this machine's own network.
