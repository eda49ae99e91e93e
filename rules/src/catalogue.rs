//! The rule base: every `.egg` file embedded, its header and the notes above its rules parsed, all
//! of it hashed.
//!
//! Input: the files of this crate, and texts that a user supplies. Output: [`RuleBase`], which the
//! optimizer loads into an e-graph. Nothing here runs a rule or knows an array.

use crate::hexadecimal::hexadecimal;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use thiserror::Error;

/// How far the laws of a file hold of floats; each degree contains the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Numerics {
    /// True of floats, bit for bit.
    Exact,
    /// Takes the terms of a sum and the factors of a product of floats in another order.
    Reorder,
    /// Also regroups products, among each other and with sums.
    Reassociate,
    /// True of the reals only.
    Algebraic,
}

impl Numerics {
    /// The word in a file's header.
    pub const fn name(self) -> &'static str {
        match self {
            Numerics::Exact => "exact",
            Numerics::Reorder => "reorder",
            Numerics::Reassociate => "reassociate",
            Numerics::Algebraic => "algebraic",
        }
    }

    /// The inverse of [`Numerics::name`].
    pub fn from_name(name: &str) -> Option<Numerics> {
        [Numerics::Exact, Numerics::Reorder, Numerics::Reassociate, Numerics::Algebraic]
            .into_iter()
            .find(|n| n.name() == name)
    }
}

/// A file of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    /// Its name, `psi.egg`.
    pub name: String,
    /// Its text.
    pub text: String,
    /// What the laws are about.
    pub theory: String,
    /// The ruleset that its rules belong to; `None` for declarations.
    pub ruleset: Option<String>,
    /// How far the laws hold of floats.
    pub numerics: Numerics,
    /// Why the rules terminate.
    pub termination: String,
    /// Where the laws are from.
    pub sources: String,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// A rule with the notes above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its unique name, `psi/map2`.
    pub name: String,
    /// The law in mathematical notation.
    pub law: String,
    /// The side condition.
    pub condition: String,
    /// Where the law is from.
    pub source: String,
    /// `before => after`, as terms.
    pub example: String,
    /// The rule itself, without its notes.
    pub text: String,
    /// The line of the file where the notes begin, from 1.
    pub line: usize,
}

/// What is wrong with a rule file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// A line of the header is missing.
    #[error("{file}: the header has no `;; {field}:` line")]
    MissingHeader {
        /// The file.
        file: String,
        /// The missing field.
        field: &'static str,
    },
    /// The header's numerics are none of the degrees.
    #[error("{file}: numerics `{found}` is not exact, reorder, reassociate or algebraic")]
    UnknownNumerics {
        /// The file.
        file: String,
        /// What stands there.
        found: String,
    },
    /// A note above a rule is missing.
    #[error("{file}:{line}: the rule `{rule}` has no `;; {field}:` line")]
    MissingNote {
        /// The file.
        file: String,
        /// The line of the rule.
        line: usize,
        /// The rule's name.
        rule: String,
        /// The missing field.
        field: &'static str,
    },
    /// A rule without a name, or with a name that another rule has.
    #[error("{file}:{line}: the rule has {problem}")]
    BadName {
        /// The file.
        file: String,
        /// The line of the rule.
        line: usize,
        /// What is wrong with the name.
        problem: String,
    },
    /// A command that a rule file may not contain.
    #[error("{file}:{line}: `({command} …)` is not allowed in a rule file; allowed are {ALLOWED_TEXT}")]
    ForbiddenCommand {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// The command.
        command: String,
    },
    /// Brackets that do not match, or nest too deeply.
    #[error("{file}:{line}: {problem}")]
    Malformed {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// A set of rule files with one hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleBase {
    files: Vec<RuleFile>,
    hash: String,
}

/// The commands that a rule file may contain. None of them reads or writes a file, runs a
/// schedule, or prints.
const ALLOWED: [&str; 7] = ["rule", "rewrite", "birewrite", "relation", "constructor", "function", "ruleset"];
const ALLOWED_TEXT: &str = "rule, rewrite, birewrite, relation, constructor, function, ruleset and facts";
/// Sort declarations are for the schema alone.
const SCHEMA_ONLY: [&str; 2] = ["sort", "datatype"];
/// The deepest nesting of brackets: the parser behind this one recurses.
const MAX_DEPTH: usize = 100;
/// The largest file, in bytes.
const MAX_BYTES: usize = 1 << 20;

const STANDARD: [(&str, &str); 10] = [
    ("schema.egg", include_str!("../schema.egg")),
    ("shape.egg", include_str!("../shape.egg")),
    ("definitions.egg", include_str!("../definitions.egg")),
    ("psi.egg", include_str!("../psi.egg")),
    ("structural.egg", include_str!("../structural.egg")),
    ("reduce.egg", include_str!("../reduce.egg")),
    ("algebra.egg", include_str!("../algebra.egg")),
    ("reorder.egg", include_str!("../reorder.egg")),
    ("reassociate.egg", include_str!("../reassociate.egg")),
    ("algebraic.egg", include_str!("../algebraic.egg")),
];

impl RuleBase {
    /// The rules of this crate.
    ///
    /// # Errors
    /// Only if an embedded file breaks the laws of writing a rule, which the tests exclude.
    pub fn standard() -> Result<RuleBase, RuleError> {
        RuleBase::with_user_files(Vec::new())
    }

    /// The rules of this crate and of `(name, text)` files. The files are read, checked, and
    /// allowed no command that touches anything but rules.
    ///
    /// # Errors
    /// A file that breaks the laws of writing a rule; see [`RuleError`].
    pub fn with_user_files(user: Vec<(String, String)>) -> Result<RuleBase, RuleError> {
        let standard = STANDARD.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let mut files = Vec::new();
        let mut names = BTreeSet::new();
        for (at, (name, text)) in standard.chain(user).enumerate() {
            let file = parse(name, text, at == 0)?;
            for rule in &file.rules {
                if !names.insert(rule.name.clone()) {
                    return Err(RuleError::BadName {
                        file: file.name,
                        line: rule.line,
                        problem: format!("the name `{}` of another rule", rule.name),
                    });
                }
            }
            files.push(file);
        }
        let mut hash = Sha256::new();
        for file in &files {
            hash.update(file.name.as_bytes());
            hash.update([0]);
            hash.update(file.text.as_bytes());
            hash.update([0]);
        }
        let hash = hexadecimal(&hash.finalize());
        Ok(RuleBase { files, hash })
    }

    /// The files, the schema first.
    pub fn files(&self) -> &[RuleFile] {
        &self.files
    }

    /// The files whose laws hold at `numerics`.
    pub fn files_at(&self, numerics: Numerics) -> impl Iterator<Item = &RuleFile> {
        self.files.iter().filter(move |file| file.numerics <= numerics)
    }

    /// The rule of this name.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.files.iter().flat_map(|file| &file.rules).find(|rule| rule.name == name)
    }

    /// SHA-256 of all names and texts, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The same rules without some of them, by name; their hash is that of what remains.
    #[must_use]
    pub fn retain(&self, mut keep: impl FnMut(&Rule) -> bool) -> RuleBase {
        let mut hash = Sha256::new();
        let mut files = self.files.clone();
        for file in &mut files {
            for rule in file.rules.iter().filter(|rule| !keep(rule)) {
                file.text = file.text.replacen(&rule.text, "", 1);
            }
            file.rules.retain(&mut keep);
            hash.update(file.text.as_bytes());
        }
        let hash = hexadecimal(&hash.finalize());
        RuleBase { files, hash }
    }
}

/// A command of a file: its text, its first line, and the comment lines right above it.
struct Command<'a> {
    text: &'a str,
    line: usize,
    notes: Vec<&'a str>,
}

fn parse(name: String, text: String, schema: bool) -> Result<RuleFile, RuleError> {
    let header_field = |field: &'static str| {
        text.lines()
            .take_while(|line| line.starts_with(";;") || line.trim().is_empty())
            .find_map(|line| note(line, field))
            .ok_or_else(|| RuleError::MissingHeader { file: name.clone(), field })
    };
    let theory = header_field("theory")?;
    let ruleset = header_field("ruleset")?;
    let numerics = header_field("numerics")?;
    let numerics = Numerics::from_name(&numerics)
        .ok_or_else(|| RuleError::UnknownNumerics { file: name.clone(), found: numerics.clone() })?;
    let termination = header_field("termination")?;
    let sources = header_field("sources")?;
    let mut rules = Vec::new();
    for command in commands(&name, &text)? {
        let head: String =
            command.text[1..].chars().take_while(|c| !c.is_whitespace() && *c != '(' && *c != ')').collect();
        let is_fact = rules.is_empty() || !head.is_empty();
        match head.as_str() {
            "rule" | "rewrite" | "birewrite" => rules.push(rule(&name, &command)?),
            _ if ALLOWED.contains(&head.as_str()) || (schema && SCHEMA_ONLY.contains(&head.as_str())) => {}
            _ if is_fact && is_relation(&head) => {}
            _ => return Err(RuleError::ForbiddenCommand { file: name, line: command.line, command: head }),
        }
    }
    let ruleset = (ruleset != "none").then_some(ruleset);
    Ok(RuleFile { name, text, theory, ruleset, numerics, termination, sources, rules })
}

/// The relations of the schema whose facts a file may state.
fn is_relation(head: &str) -> bool {
    ["position", "subset", "may-reorder", "distributes", "associates"].contains(&head)
}

fn rule(file: &str, command: &Command<'_>) -> Result<Rule, RuleError> {
    let bad_name =
        |problem: &str| RuleError::BadName { file: file.to_owned(), line: command.line, problem: problem.to_owned() };
    let (_, rest) = command.text.split_once(":name \"").ok_or_else(|| bad_name("no `:name`"))?;
    let (name, _) = rest.split_once('"').ok_or_else(|| bad_name("no `:name`"))?;
    if !name.contains('/') {
        return Err(bad_name("a name that is not of the form file/law"));
    }
    let field = |field: &'static str| {
        command.notes.iter().find_map(|line| note(line, field)).ok_or_else(|| RuleError::MissingNote {
            file: file.to_owned(),
            line: command.line,
            rule: name.to_owned(),
            field,
        })
    };
    Ok(Rule {
        name: name.to_owned(),
        law: field("law")?,
        condition: field("where")?,
        source: field("source")?,
        example: field("example")?,
        text: command.text.to_owned(),
        line: command.line,
    })
}

fn note(line: &str, field: &str) -> Option<String> {
    let rest = line.trim().strip_prefix(";;")?.trim_start().strip_prefix(field)?.strip_prefix(':')?;
    Some(rest.trim().to_owned())
}

/// The bracketed expressions at the top of a file. Iterative, so that no input can overflow the
/// stack.
fn commands<'a>(file: &str, text: &'a str) -> Result<Vec<Command<'a>>, RuleError> {
    let malformed =
        |line: usize, problem: &str| RuleError::Malformed { file: file.to_owned(), line, problem: problem.to_owned() };
    if text.len() > MAX_BYTES {
        return Err(malformed(1, "the file is larger than 1 MiB"));
    }
    let mut found = Vec::new();
    let mut notes: Vec<&str> = Vec::new();
    let (mut depth, mut start, mut start_line, mut line) = (0usize, 0usize, 1usize, 1usize);
    let (mut in_string, mut escaped, mut in_comment) = (false, false, false);
    let mut line_start = 0;
    for (at, c) in text.char_indices() {
        if c == '\n' {
            let content = text[line_start..at].trim();
            if depth == 0 && content.is_empty() {
                notes.clear();
            } else if depth == 0 && content.starts_with(";;") {
                notes.push(content);
            }
            line += 1;
            line_start = at + 1;
            in_comment = false;
            continue;
        }
        if in_comment {
            continue;
        }
        if in_string {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match c {
            ';' => in_comment = true,
            '"' => in_string = true,
            '(' => {
                if depth == 0 {
                    (start, start_line) = (at, line);
                }
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(malformed(line, "brackets nest deeper than 100"));
                }
            }
            ')' => {
                depth = depth.checked_sub(1).ok_or_else(|| malformed(line, "a `)` without its `(`"))?;
                if depth == 0 {
                    let notes = std::mem::take(&mut notes);
                    found.push(Command { text: &text[start..=at], line: start_line, notes });
                }
            }
            _ => {
                if depth == 0 && !c.is_whitespace() {
                    return Err(malformed(line, "text outside of brackets"));
                }
            }
        }
    }
    if depth != 0 || in_string {
        return Err(malformed(start_line, "an expression that does not end"));
    }
    Ok(found)
}
