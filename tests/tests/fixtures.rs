//! Every Lua fixture prints and fails as the reference interpreter did.

use cu_tests::{Conditions, check_all, fixtures, run};

#[test]
fn fixtures_match_the_reference_interpreter() {
    check_all(
        &fixtures(),
        |fixture| fixture,
        |fixture| {
            let outcome = run(&fixture.source, &fixture.chunk_name(), Conditions::default())?;
            outcome.expect(&fixture.output, fixture.error.as_deref())
        },
    );
}
