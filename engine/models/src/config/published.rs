//! The settings of published models that do not follow from their dimensions.
use super::{Config, Form};
use crate::error::ModelError;
use scenarios::shape::{Arch, Shape};

/// `rope_theta` of Llama 3 (Grattafiori et al. 2024).
const LLAMA_3_THETA: f64 = 500_000.0;

/// `rms_norm_eps` of Llama 1 (Touvron et al. 2023a).
const LLAMA_1_EPSILON: f64 = 1e-6;

/// The factor by which OPT-350m's embedding (`word_embed_proj_dim`, 512) is narrower than its hidden size (1024).
/// OPT-350m applies its norms after the residuals.
const OPT_350M_EMBEDDING: usize = 2;

impl Config {
    /// Returns the configuration of the published model `name`, such as `350m` of OPT or `3-8b` of Llama, with the
    /// dimensions `shape`. The shape may be a scaled version of the published shape.
    ///
    /// # Errors
    /// If the shape's dimensions are out of range or inconsistent.
    pub fn published(name: &str, shape: &Shape) -> Result<Config, ModelError> {
        let mut config = Config::of(shape)?;
        match (&mut config.form, shape.arch, name) {
            (Form::Opt(form), Arch::Opt, "350m") => {
                form.norm_first = false;
                form.final_norm = false;
                form.embed_width = (shape.hidden as usize / OPT_350M_EMBEDDING).max(1);
            }
            (Form::Llama(form), Arch::Llama, name) if name.starts_with("3-") => form.rope_theta = LLAMA_3_THETA,
            (Form::Llama(_), Arch::Llama, "30b") => config.eps = LLAMA_1_EPSILON,
            // The other models have the usual settings of their family.
            _ => {}
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::Config;
    use crate::config::Form;
    use scenarios::presets::models;
    use scenarios::shape::Arch;

    #[test]
    fn the_350m_form_and_the_third_llama_are_known_by_name() {
        let of = |arch, name| {
            let shape = models::shape(arch, name).expect("a preset").scaled(0.25);
            (Config::published(name, &shape).expect("it can be executed"), Config::of(&shape).expect("so can this"))
        };
        let (opt, usual) = of(Arch::Opt, "350m");
        assert_ne!(opt, usual);
        assert!(matches!(&opt.form, Form::Opt(form) if !form.norm_first && form.embed_width == opt.hidden() / 2));
        let (llama, _) = of(Arch::Llama, "3-8b");
        assert!(matches!(&llama.form, Form::Llama(form) if form.rope_theta == 500_000.0));
        for (arch, name) in [(Arch::Opt, "125m"), (Arch::Bloom, "560m"), (Arch::Llama, "7b")] {
            let (config, usual) = of(arch, name);
            assert_eq!(config, usual, "{name}");
        }
    }
}
