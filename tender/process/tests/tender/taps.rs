//! Taps, in a network namespace that ends with the test.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use mirage_manifest::Kind;
use mirage_tender_process::mac::Mac;

use crate::probe::{Image, TENDER, image, is_root, output, refused, skip, text};

/// Runs a shell script in a network namespace of its own, as root there. `$TENDER` and `$IMAGE`
/// are what they say.
fn in_namespace(image: &Image, script: &str) -> Output {
    let mut command = Command::new("unshare");
    if is_root() {
        command.arg("--net");
    } else {
        command.args(["--net", "--user", "--map-root-user"]);
    }
    command.args(["sh", "-ec", script]);
    command.env("TENDER", TENDER).env("IMAGE", &image.path);
    output(&mut command)
}

/// Whether taps can be made here. Says so if not.
fn possible(what: &str) -> bool {
    let probe = in_namespace(&image(&[]), "ip tuntap add dev t0 mode tap");
    if !probe.status.success() {
        let why = text(&probe.stderr);
        skip(what, &format!("no tap can be made here: {}", why.trim()));
    }
    probe.status.success()
}

const TAP: &str = "ip tuntap add dev t0 mode tap; ip link set t0 mtu 1400 up; ";

#[test]
fn a_tap_is_attached_with_its_own_packet_size_and_offload() {
    if !possible("attaching a tap") {
        return;
    }
    let image = image(&[(Kind::Net, "net")]);
    let mac = Mac::derive(&[b"probe", b"net", b"t0"]);
    let script = format!("{TAP} exec $TENDER --net net=tap:t0 $IMAGE boot");
    let output = in_namespace(&image, &script);
    let line = format!("MIRAGE_DEVICE_0=net,mac={mac},mtu=1400,offload=1\n");
    assert!(text(&output.stdout).ends_with(&line), "{output:?}");

    let option = "net=tap:t0,mac=02:00:00:00:00:01";
    let script = format!("{TAP} exec $TENDER --net {option} $IMAGE boot");
    let output = in_namespace(&image, &script);
    assert!(
        text(&output.stdout).contains("mac=02:00:00:00:00:01,"),
        "{output:?}"
    );
}

#[test]
fn frames_leave_through_a_tap() {
    if !possible("sending through a tap") {
        return;
    }
    let image = image(&[(Kind::Net, "net")]);
    let script = format!(
        "{TAP} $TENDER --net net=tap:t0 $IMAGE call=20,4,V,2 call=20,4,V,2; \
         grep t0: /proc/net/dev"
    );
    let output = in_namespace(&image, &script);
    let lines = text(&output.stdout);
    let (results, counters) = lines
        .split_once("t0:")
        .unwrap_or_else(|| panic!("{output:?}"));
    assert_eq!(
        results.split_whitespace().collect::<Vec<_>>(),
        ["2010", "2010"]
    );
    // What the image sent, the interface received: bytes, then packets.
    let counters: Vec<&str> = counters.split_whitespace().collect();
    assert_eq!(counters[1], "2", "{output:?}");
}

#[test]
fn frames_arrive_through_a_tap() {
    if !possible("receiving through a tap") {
        return;
    }
    let image = image(&[(Kind::Net, "net")]);
    // A neighbour that is known, so that the datagram leaves without a question before it.
    let script = format!(
        "{TAP} ip address add 10.9.9.1/24 dev t0; \
         ip neighbour add 10.9.9.2 lladdr 02:00:00:00:00:01 dev t0; \
         (until ping -c 1 -W 1 10.9.9.2 >/dev/null; do :; done) & \
         $TENDER --net net=tap:t0 $IMAGE call=441,3,B,1,0,0,8 call=441,3,B,1,0,0,8 \
         call=19,4,V,2; kill $!"
    );
    let output = in_namespace(&image, &script);
    let lines = text(&output.stdout);
    let results: Vec<i64> = lines.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(results[..2], [1, 1], "{output:?}");
    assert!(results[2] > 10 + 14, "{output:?}");
}

#[test]
fn a_tap_in_use_is_named() {
    if !possible("a tap in use") {
        return;
    }
    let image = image(&[(Kind::Net, "net")]);
    // The first one is known to hold the tap when its first byte comes out of the pipe.
    let script = format!(
        "{TAP} mkfifo $IMAGE.pipe; \
         $TENDER --net net=tap:t0 $IMAGE boot call=441,3,B,1,0,0,8 call=441,3,B,1,0,0,8 \
         call=441,3,B,1,0,0,8 >$IMAGE.pipe & \
         exec 3<$IMAGE.pipe; head -c 1 <&3 >/dev/null; \
         status=0; $TENDER --net net=tap:t0 $IMAGE boot || status=$?; \
         kill $!; exit $status"
    );
    refused(&in_namespace(&image, &script), "tap t0 is in use");
}

#[test]
fn an_interface_that_is_no_tap_is_named() {
    if !possible("an interface that is no tap") {
        return;
    }
    let image = image(&[(Kind::Net, "net")]);
    let run = |setup: &str, name: &str| {
        in_namespace(
            &image,
            &format!("{setup} exec $TENDER --net net=tap:{name} $IMAGE"),
        )
    };
    refused(&run("", "lo"), "interface lo is not a tap");
    refused(
        &run("ip tuntap add dev u0 mode tun;", "u0"),
        "interface u0 is not a tap",
    );
    let queues = "ip tuntap add dev q0 mode tap multi_queue;";
    refused(
        &run(queues, "q0"),
        "interface q0 is not a tap with one queue",
    );
    // And a missing one is not made.
    let script = "$TENDER --net net=tap:t9 $IMAGE || ip -o link show t9";
    let output = in_namespace(&image, script);
    assert!(
        text(&output.stderr).contains("there is no interface t9"),
        "{output:?}"
    );
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
}

#[test]
fn a_missing_tap_is_named_with_the_line_to_type() {
    let image = image(&[(Kind::Net, "net")]);
    let output = image.run(&["--net", "net=tap:missing0"], &[]);
    refused(&output, "ip tuntap add dev missing0 mode tap");
}

#[test]
fn a_tap_of_somebody_else_is_named() {
    if !is_root() {
        return skip(
            "a tap of somebody else",
            "only root can become another user",
        );
    }
    if !possible("a tap of somebody else") {
        return;
    }
    let image = image(&[(Kind::Net, "net")]);
    let as_nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let script = format!("{TAP} exec {as_nobody} $TENDER --net net=tap:t0 $IMAGE");
    let output = in_namespace(&image, &script);
    // The device file alone may stop it already, as it does where it is root's.
    let error = text(&output.stderr);
    let expected = match error.contains("/dev/net/tun") {
        true => "start as root, or as a user who may open it",
        false => "no permission to use tap t0",
    };
    refused(&output, expected);
}

#[test]
fn root_of_a_user_namespace_keeps_no_capability() {
    // Its user cannot change there; the capabilities go all the same.
    let script = "mkfifo $IMAGE.pipe; \
        $TENDER $IMAGE boot call=441,3,B,1,0,0,8 >$IMAGE.pipe & \
        exec 3<$IMAGE.pipe; head -c 1 <&3 >/dev/null; grep ^Cap /proc/$!/status; kill $!";
    let image = image(&[]);
    std::fs::set_permissions(image.folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-ec", script]);
    command.env("TENDER", TENDER).env("IMAGE", &image.path);
    let output = output(&mut command);
    if text(&output.stderr).starts_with("unshare:") {
        return skip("user namespaces", text(&output.stderr).trim());
    }
    let sets = text(&output.stdout);
    assert_eq!(sets.lines().count(), 5, "{output:?}");
    assert!(
        sets.lines().all(|set| set.ends_with("\t0000000000000000")),
        "{sets}"
    );
}
