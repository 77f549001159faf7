use super::*;

fn search_with_shards_of(max_states: Option<usize>) -> (End, u64) {
    let scopes = Scope::catalog();
    let scope = scopes.iter().find(|scope| scope.name == "elections");
    let tables = Tables::new(scope.expect("a scope of the catalog").clone(), true);
    let limits = Limits {
        threads: 2,
        max_states: None,
        max_memory: None,
        symmetry: true,
    };
    let progress = SearchProgress::default();
    let mut search = Search::<10>::new(&tables, &limits, &progress);
    if let Some(max_states) = max_states {
        search.visited.limit_shards(max_states);
    }
    let end = search.run().end;
    (end, progress.states.load(Ordering::Relaxed))
}

#[test]
fn state_without_a_number_left_for_it_makes_no_exhausted_scope() {
    let (end, all) = search_with_shards_of(None);
    assert!(matches!(end, End::Exhausted));
    for max_states in [1, 20, all as usize / SHARDS] {
        let (end, states) = search_with_shards_of(Some(max_states));
        let is_capacity = matches!(end, End::Stopped(StopCause::Capacity));
        assert!(is_capacity, "{max_states}");
        assert!(states < all, "{max_states}");
    }
}
