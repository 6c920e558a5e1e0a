//! `schema`, `completions` and `man`: documents that are generated from the program.
use crate::exit::{Done, Exit};
use crate::place;
use crate::print::say;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use miette::miette;
use std::path::Path;

/// Prints the JSON schema of scenarios, or their reference.
pub fn schema(markdown: bool) -> Done {
    if markdown {
        say!("{}", scenarios::reference::markdown());
    } else {
        say!("{:#}\n", scenarios::reference::schema().as_value());
    }
    Ok(0)
}

/// Prints the completion script of a shell.
pub fn completions(command: &mut Command, shell: Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "swarmbench", &mut script);
    say!("{}", String::from_utf8_lossy(&script));
    Ok(0)
}

/// Prints the manual page of the program, or writes the pages of all its commands into a folder.
///
/// # Errors
/// If the folder cannot be created or written. The error names the folder.
pub fn manual(command: Command, out: Option<&Path>) -> Done {
    let Some(folder) = out else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        say!("{}", String::from_utf8_lossy(&page));
        return Ok(0);
    };
    place::directory(folder)?;
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    let unwritten =
        |why| Exit { code: 1, report: miette!("manual pages cannot be written to {}: {why}", folder.display()) };
    written.map(|()| 0).map_err(unwritten)
}
