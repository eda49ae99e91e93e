//! Functions of the module: the attributes that pin them to a target, and what is promised of their buffers.

use super::cx::Cx;
use crate::workspace;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::context::Context;
use inkwell::module::Linkage;
use inkwell::types::FunctionType;
use inkwell::values::FunctionValue;
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::{Buffer, BufferRole};

impl<'c> Cx<'c, '_> {
    /// Target attributes on a function.
    pub(crate) fn attribute(&self, function: FunctionValue<'c>) {
        for attribute in target_attributes(self.context, &self.options.target) {
            function.add_attribute(AttributeLoc::Function, attribute);
        }
    }

    /// An internal function whose first parameters are `buffers`.
    pub(crate) fn new_function(&self, name: &str, ty: FunctionType<'c>, buffers: &[usize]) -> FunctionValue<'c> {
        let function = self.module.add_function(name, ty, Some(Linkage::Internal));
        self.attribute(function);
        let named =
            |kind: &str, value: u64| self.context.create_enum_attribute(Attribute::get_named_enum_kind_id(kind), value);
        function.add_attribute(AttributeLoc::Function, named("noinline", 0));
        for (at, &buffer) in (0u32..).zip(buffers) {
            let Buffer { name, dtype, len, role } = &self.nest.buffers[buffer];
            if let Some(param) = function.get_nth_param(at) {
                param.set_name(name);
            }
            let align = match role {
                BufferRole::Param(_) | BufferRole::Output(_) => dtype.bytes(),
                BufferRole::Check(..) | BufferRole::Shared | BufferRole::Private => workspace::ALIGN,
            };
            let bytes = len * dtype.bytes();
            for (kind, value) in [("noalias", 0), ("align", align), ("dereferenceable", bytes)] {
                if kind == "noalias" || value > 0 {
                    function.add_attribute(AttributeLoc::Param(at), named(kind, u64::try_from(value).unwrap_or(0)));
                }
            }
        }
        function
    }
}

/// The attributes that pin a function to a target.
fn target_attributes(context: &Context, target: &Target) -> Vec<Attribute> {
    let width = (target.vector_bytes * 8).max(128).to_string();
    vec![
        context.create_string_attribute("target-cpu", &target.cpu),
        context.create_string_attribute("target-features", &target.features),
        context.create_string_attribute("prefer-vector-width", &width),
        context.create_string_attribute("no-trapping-math", "true"),
        context.create_enum_attribute(Attribute::get_named_enum_kind_id("nounwind"), 0),
    ]
}
