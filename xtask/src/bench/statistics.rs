//! The numbers that stand for many: medians of runs, geometric means of ratios.

/// The middle of the values, of an even number the mean of the two. None of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The mean that treats twice as fast and twice as slow alike. None of none.
pub fn geometric_mean(ratios: &[f64]) -> Option<f64> {
    if ratios.is_empty() {
        return None;
    }
    let sum: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    Some((sum / ratios.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 100.0, 2.0]), Some(3.0));
    }

    #[test]
    fn geometric_means() {
        let check = |ratios: &[f64], expected: f64| {
            let mean = geometric_mean(ratios).expect("there are ratios");
            assert!((mean - expected).abs() < 1e-12, "{ratios:?}: {mean}");
        };
        assert_eq!(geometric_mean(&[]), None);
        check(&[0.5], 0.5);
        check(&[0.5, 2.0], 1.0);
        check(&[1.0, 8.0, 27.0], 6.0);
    }
}
