use std::fmt::Write as _;

use super::Description;

/// For Graphviz: arrows from who takes a device to the device.
pub(super) fn render(description: &Description) -> String {
    let mut text = String::new();
    let app = &description.application;
    // Writing into a string cannot fail.
    let _ = writeln!(text, "digraph {} {{", quoted(&app.name));
    text += "    node [shape=box, style=rounded, fontname=\"sans-serif\"];\n";
    let label = format!("{} {}\n{}", app.name, app.version, description.main);
    let _ = writeln!(text, "    main [label={}, style=bold];", quoted(&label));
    for device in &description.devices {
        let provider = &device.provider;
        let label = format!("{}\n{} {}", device.name, provider.name, provider.version);
        let shape = match device.attached {
            Some(_) => ", peripheries=2",
            None => "",
        };
        let _ = writeln!(
            text,
            "    {} [label={}{shape}];",
            node(&device.name),
            quoted(&label)
        );
    }
    for name in &description.takes {
        let _ = writeln!(text, "    main -> {};", node(name));
    }
    for device in &description.devices {
        for name in &device.takes {
            let _ = writeln!(text, "    {} -> {};", node(&device.name), node(name));
        }
    }
    text + "}\n"
}

/// A device's node: a name that `main` does not have.
fn node(name: &str) -> String {
    quoted(&format!("device {name}"))
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}
