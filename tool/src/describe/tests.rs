use serde_json::json;

use super::*;
use crate::fixture;
use crate::graph::wire;

fn description() -> Description {
    let app = json!({
        "main": "app::main(stack, clock, keys)",
        "keys": { "port": { "type": "u16", "default": 80, "doc": "TCP port <to> \"serve\" on" } },
    });
    let lib = json!({
        "interfaces": {
            "clock": { "shared": true },
            "net": { "attached": "net" },
            "stack": { "shared": true },
        },
        "provides": {
            "clock": { "new": "basic::Clock::new(runtime)" },
            "net": { "new": "basic::Net::new(runtime, name)" },
            "stack": {
                "new": "basic::Stack::new(net, clock, sealed)",
                "build": { "function": "basic::pack" },
                "primary": "from",
                "keys": { "from": { "type": "path", "at": "build", "required": true } },
            },
        },
        "platform": { "artifact": "image", "runs-on": ["process"], "entry": "basic::image" },
    });
    let model = fixture::model(vec![
        fixture::package("app", Some(0), app),
        fixture::package("basic", Some(1), lib),
    ]);
    let graph = wire(&model, "process").unwrap();
    Description::new(&model, &graph)
}

#[test]
fn the_text_shows_devices_as_a_tree_and_keys_as_a_table() {
    let text = anstream::adapter::strip_str(&text::render(&description())).to_string();
    assert_eq!(
        text,
        "\
app 1.0.0 on process: image by basic 1.0.0

Devices
  app::main(stack, clock, keys)
  ├─ stack     basic 1.0.0
  │  ├─ net    basic 1.0.0  --tap net=TAP, or the gateway
  │  └─ clock  basic 1.0.0
  └─ clock     basic 1.0.0  the same

Keys when it is built: --set NAME=VALUE
  stack.from (or stack)  path  required

Keys when it runs: -- NAME=VALUE
  port      u16       80    TCP port <to> \"serve\" on
  log       string    info  Least level that is logged: off, error, warn, info, debug or trace
  counters  duration  0s    How often the counters are written to the console; 0s is never
"
    );
}

#[test]
fn the_json_form_names_devices_providers_versions_and_keys() {
    let json = serde_json::to_value(description()).unwrap();
    assert_eq!(json["application"]["name"], "app");
    assert_eq!(json["takes"], json!(["stack", "clock"]));
    assert_eq!(json["devices"][0]["name"], "net");
    assert_eq!(json["devices"][0]["attached"], "net");
    assert_eq!(json["devices"][2]["takes"], json!(["net", "clock"]));
    assert_eq!(json["devices"][2]["provider"]["version"], "1.0.0");
    assert_eq!(json["keys"][1]["at"], "build");
    assert_eq!(json["keys"][1]["alias"], "stack");
    assert_eq!(json["keys"][2]["name"], "log");
}

#[test]
fn graphviz_gets_every_device_and_every_arrow() {
    let dot = dot::render(&description());
    assert!(dot.starts_with("digraph \"app\" {"), "{dot}");
    assert_eq!(dot.matches(" -> ").count(), 4, "{dot}");
    assert!(dot.contains("\"device stack\" -> \"device net\";"), "{dot}");
    assert!(dot.ends_with("}\n"), "{dot}");
}

#[test]
fn the_picture_is_well_formed_and_no_two_boxes_overlap() {
    let svg = svg::render(&description());
    let document = roxmltree::Document::parse(&svg).unwrap();
    let number = |node: &roxmltree::Node<'_, '_>, name: &str| -> f64 {
        node.attribute(name).unwrap().parse().unwrap()
    };
    let boxes: Vec<[f64; 4]> = document
        .descendants()
        .filter(|node| node.has_tag_name("rect") || node.tag_name().name() == "rect")
        .filter(|node| node.has_attribute("class"))
        .map(|node| {
            let (x, y) = (number(&node, "x"), number(&node, "y"));
            [
                x,
                y,
                x + number(&node, "width"),
                y + number(&node, "height"),
            ]
        })
        .collect();
    // The application, three devices and the platform.
    assert_eq!(boxes.len(), 5);
    let root = document.root_element();
    for (at, a) in boxes.iter().enumerate() {
        assert!(a[0] >= 0.0 && a[2] <= number(&root, "width"), "{a:?}");
        assert!(a[1] >= 0.0 && a[3] <= number(&root, "height"), "{a:?}");
        for b in &boxes[at + 1..] {
            let apart = a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
            assert!(apart, "{a:?} {b:?}");
        }
    }
    let texts: Vec<_> = document
        .descendants()
        .filter_map(|node| node.text())
        .collect();
    assert!(texts.contains(&"stack"), "{texts:?}");
}
