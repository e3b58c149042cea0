// For mutation runs only. One counterexample tells a mutant from the original: making it small would take most of the
// time. And a mutant must meet the same fate in each run, so chance is the same in each.
import fc from "fast-check";

fc.configureGlobal({ endOnFailure: true, seed: 418 });
