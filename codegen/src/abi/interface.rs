//! What a caller of a kernel must know: its arguments, its results and its symbols.

use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::program::expr::{Program, Signature};
use moat_optimizer::value::dtype::DType;
use serde::{Deserialize, Serialize};

/// An array that a kernel takes or gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// The parameter's name, also of what it holds after the call; `result0`, … for a result.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents; none for a scalar.
    pub shape: Vec<usize>,
}

impl Argument {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size of the data.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.bytes()
    }
}

/// What a caller of a kernel must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The workload's function; the C names begin with it.
    pub function: String,
    /// The parameters in order.
    pub inputs: Vec<Argument>,
    /// How the Python function takes them.
    #[serde(default, skip_serializing_if = "Signature::is_plain")]
    pub signature: Signature,
    /// The results in order: what the function returns, then what each argument that it writes to holds afterwards.
    pub outputs: Vec<Argument>,
    /// Positions of the parameters that the function writes to; the last outputs are theirs, in this order.
    #[serde(default)]
    pub mutated: Vec<usize>,
    /// Whether the Python function returns a tuple, also one of a single array.
    pub returns_tuple: bool,
    /// Scratch that the kernel needs; the code generator's answer, 0 before it was asked.
    pub workspace_bytes: usize,
}

impl Interface {
    /// The interface of a program whose normal form is compiled to a kernel.
    pub fn new(program: &Program, form: &NormalForm) -> Interface {
        let inputs = form.params.iter().map(|param| Argument {
            name: param.name.clone(),
            dtype: param.dtype,
            shape: param.shape.clone(),
        });
        let results = form.outputs.len() - form.checks.len().min(form.outputs.len());
        let returned = results - program.mutated.len().min(results);
        let outputs = form.outputs.iter().take(results).enumerate().filter_map(|(at, &def)| {
            let def = form.defs.get(def)?;
            let mutated = at.checked_sub(returned).and_then(|at| form.params.get(*program.mutated.get(at)?));
            let name = mutated.map_or_else(|| format!("result{at}"), |param| param.name.clone());
            Some(Argument { name, dtype: def.dtype, shape: def.shape.clone() })
        });
        Interface {
            function: program.name.clone(),
            inputs: inputs.collect(),
            signature: program.signature.clone(),
            outputs: outputs.collect(),
            mutated: program.mutated.clone(),
            returns_tuple: program.returns_tuple,
            workspace_bytes: 0,
        }
    }

    /// All arguments of the checked entry: inputs first, then outputs.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.inputs.iter().chain(&self.outputs)
    }

    /// The outputs that the function returns; the others are the new values of arguments.
    pub fn returned(&self) -> &[Argument] {
        &self.outputs[..self.outputs.len() - self.mutated.len().min(self.outputs.len())]
    }

    /// The entry that takes pointers.
    pub fn raw_symbol(&self) -> String {
        format!("{}_raw", self.function)
    }

    /// The entry that takes tensors.
    pub fn checked_symbol(&self) -> String {
        format!("{}_checked", self.function)
    }

    /// The function that gives the workspace's size.
    pub fn workspace_bytes_symbol(&self) -> String {
        format!("{}_workspace_bytes", self.function)
    }

    /// The function that explains a status.
    pub fn status_message_symbol(&self) -> String {
        format!("{}_status_message", self.function)
    }

    /// The function that asks whether this CPU can run the kernel.
    pub fn cpu_supported_symbol(&self) -> String {
        format!("{}_cpu_supported", self.function)
    }
}
