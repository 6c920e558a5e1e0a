//! Resolves the model that is executed: a preset or custom dimensions, after any adaptation to another family.
use super::fault::{Fault, bounded};
use super::place;
use crate::adapt::Adaptation;
use crate::files::Files;
use crate::plan;
use crate::presets::models;
use crate::schema::{Model, Shape as Written, Weights};
use crate::shape::{Arch, Shape, WeightType};
use actors::limits;
use actors::message::WireType;

/// The largest number of layers: more than any known model has, and few enough for the tables with which routes are
/// computed.
const LAYERS: u32 = limits::HOPS_PER_ROUTE as u32;

pub(super) fn resolve(model: &Model, files: &Files) -> Result<plan::Model, Fault> {
    let own = shape(&model.shape)?;
    let shape = model.run_as.map_or(own, |arch| Adaptation::of(&own, arch).to);
    let wire = model.wire.unwrap_or(match model.dtype {
        WeightType::F32 => WireType::F32,
        WeightType::F16 | WeightType::Bf16 | WeightType::Int8 | WeightType::Int4 => WireType::F16,
    });
    if let WireType::Int8 { block } = wire {
        bounded("model.wire.block", "block", u32::from(block), 1, limits::HIDDEN)?;
    }
    Ok(plan::Model {
        shape,
        block_type: model.dtype,
        client_type: model.client_dtype,
        wire,
        // Caches keep values in the format of the computation, not in the compressed format of the network.
        cache_value_bytes: match (wire, model.dtype) {
            (WireType::F32, _) | (WireType::Int8 { .. }, WeightType::F32) => 4,
            (WireType::F16 | WireType::Bf16 | WireType::Int8 { .. }, _) => 2,
        },
        weights: match &model.weights {
            Weights::Random { seed } => plan::Weights::Random { seed: *seed },
            Weights::Dir(folder) => plan::Weights::Dir(place(files, folder)),
            Weights::Echo => plan::Weights::Echo,
        },
    })
}

/// Returns the dimensions that the scenario gives.
pub(crate) fn shape(written: &Written) -> Result<Shape, Fault> {
    let preset = |arch, name: &str| {
        models::shape(arch, name)
            .ok_or_else(|| Fault::unknown("model.shape.0", &format!("{arch:?} model"), name, models::names(arch)))
    };
    match written {
        Written::Opt(name) => preset(Arch::Opt, name),
        Written::Bloom(name) => preset(Arch::Bloom, name),
        Written::Llama(name) => preset(Arch::Llama, name),
        &Written::Custom { arch, layers, hidden, heads, kv_heads, ffn, vocab, max_positions } => {
            let shape = Shape {
                arch,
                layers,
                hidden,
                heads,
                kv_heads: kv_heads.unwrap_or(heads),
                ffn: ffn.unwrap_or_else(|| models::ffn(arch, hidden)),
                vocab,
                max_positions,
            };
            check(&shape).map(|()| shape)
        }
    }
}

fn check(shape: &Shape) -> Result<(), Fault> {
    bounded("model.shape.layers", "layers", shape.layers, 1, LAYERS)?;
    bounded("model.shape.hidden", "hidden", shape.hidden, 1, limits::HIDDEN)?;
    bounded("model.shape.heads", "heads", shape.heads, 1, shape.hidden)?;
    bounded("model.shape.kv_heads", "kv_heads", shape.kv_heads, 1, shape.heads)?;
    bounded("model.shape.ffn", "ffn", shape.ffn, 1, limits::FFN)?;
    bounded("model.shape.vocab", "vocab", shape.vocab, 1, limits::VOCABULARY)?;
    bounded("model.shape.max_positions", "max_positions", shape.max_positions, 1, limits::TOKENS_PER_REQUEST)?;
    let Shape { hidden, heads, kv_heads, .. } = *shape;
    if hidden % heads != 0 {
        let near = (1..=hidden).rev().find(|h| *h < heads && hidden % h == 0).unwrap_or(1);
        return Err(Fault::new(
            "model.shape.heads",
            format!("the hidden size {hidden} is not divisible by {heads} heads"),
        )
        .help(format!("use a number of heads that divides the hidden size, for example {near}")));
    }
    if heads % kv_heads != 0 {
        let message = format!("the number of heads, {heads}, is not a multiple of kv_heads, {kv_heads}");
        return Err(Fault::new("model.shape.kv_heads", message));
    }
    if shape.arch != Arch::Llama && kv_heads != heads {
        let message = format!("{:?} has no grouped-query attention, so kv_heads must equal heads", shape.arch);
        return Err(Fault::new("model.shape.kv_heads", message).help("leave `kv_heads` out, or use the Llama family"));
    }
    if shape.arch == Arch::Bloom && u64::from(shape.ffn) != 4 * u64::from(hidden) {
        let message = format!(
            "the ffn size of BLOOM must be 4 times the hidden size, {}, but is {}",
            4 * u64::from(hidden),
            shape.ffn
        );
        return Err(Fault::new("model.shape.ffn", message).help("leave `ffn` out, or use another family"));
    }
    if shape.arch == Arch::Llama && !shape.head_dim().is_multiple_of(2) {
        let message = format!("rotary positions need an even head size, but hidden / heads is {}", shape.head_dim());
        return Err(Fault::new("model.shape.heads", message));
    }
    Ok(())
}
