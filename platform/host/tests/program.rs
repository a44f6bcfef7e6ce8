//! The program that `program!` makes: what it says and how it ends.

use std::process::{Command, Output};

/// Runs the example, which `cargo test` builds beside the tests.
fn greet(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let test = std::env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples/greet");
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(&example)
        .args(arguments)
        .env_remove("MIRAGE_PUBLISH")
        .envs(environment.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; build it first", example.display()));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_program_reads_its_keys_and_ends_with_zero() {
    assert_eq!(
        greet(&[], &[]),
        (Some(0), "hello world\n".into(), String::new())
    );
    assert_eq!(
        greet(&["name=you"], &[]),
        (Some(0), "hello you\n".into(), String::new())
    );
}

#[test]
fn an_error_ends_with_one_and_a_panic_with_101() {
    let (status, output, _) = greet(&["end=error"], &[]);
    assert_eq!(
        (status, &*output),
        (Some(1), "hello world\nerror: told to end with error\n")
    );
    let (status, _, errors) = greet(&["end=panic"], &[]);
    assert_eq!(status, Some(101));
    assert!(errors.contains("told to panic"), "{errors}");
}

#[test]
fn a_wrong_key_ends_with_two_and_names_the_nearest() {
    let (status, output, _) = greet(&["nane=you"], &[]);
    assert_eq!(
        (status, &*output),
        (Some(2), "error: unknown key `nane`; did you mean `name`?\n")
    );
}

#[test]
fn a_device_that_was_not_declared_stops_the_start() {
    let (status, output, _) = greet(&[], &[("MIRAGE_BLOCK_disk", "/dev/null")]);
    assert_eq!(status, Some(125));
    assert!(
        output.contains("`disk` is given and not declared"),
        "{output}"
    );
    let (status, output, _) = greet(&[], &[("MIRAGE_PUBLISH", "80:80")]);
    assert_eq!(status, Some(125));
    assert!(
        output.contains("for example 127.0.0.1:8080=80/tcp"),
        "{output}"
    );
}

#[test]
fn the_log_shows_what_its_level_asks_for() {
    assert!(!greet(&[], &[]).1.contains("about to greet"));
    assert!(
        greet(&["log=debug"], &[])
            .1
            .contains("DEBUG greet: about to greet")
    );
}
