//! A unikernel that runs as an ordinary program: it greets, or ends as it is told to.
//!
//! `cargo run -p mirage-host --example greet -- name=you`

use mirage_device::Console as _;

mirage_host::program! {
    devices: [],
    keys: [
        ("name", String, Some("world"), false, "Whom to greet"),
        ("end", String, None, false, "How to end: error or panic"),
    ],
    main: |runtime, keys| async move {
        let name: &str = runtime.check("keys", keys.get("name"))?;
        let end: Option<&str> = runtime.check("keys", keys.get("end"))?;
        let console = mirage_runtime::Console::new(runtime.clone());
        log::debug!("about to greet");
        console.write(format!("hello {name}\n").as_bytes());
        runtime.finish(match end {
            Some("panic") => panic!("told to panic"),
            Some(other) => Err(format!("told to end with {other}")),
            None => Ok(()),
        })
    }
}
