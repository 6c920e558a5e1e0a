//! Runs the program as a user does, with arguments, output streams and an exit code.
use std::path::Path;
use std::process::{Command, Output};

/// Runs `swarmbench` in `dir`, and fails with its stderr if the exit code is not `code`.
#[track_caller]
pub fn expect_code(dir: &Path, arguments: &[&str], code: i32) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarmbench"));
    let output = command.args(arguments).current_dir(dir).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "swarmbench {} said:\n{said}", arguments.join(" "));
    output
}
