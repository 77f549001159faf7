// Types of the tests of the page. For the type check alone: no browser loads this file.

/** Fails unless both values have the same JSON. */
type Equal = (found: unknown, expected: unknown) => void;
/** The tests of a module, by their names (run.js). */
type PageTests = Record<string, (equal: Equal) => void | Promise<void>>;

/** The results of the tests, for the program that opens the page. */
type TestResults = { passed: number; failed: string[] };
interface Window {
  results?: TestResults;
  /** The components of the gallery, for a look at them from the console. */
  gallery?: Record<string, unknown>;
}

/** A run with all its parts. */
type SampleRun = Required<Pick<Run, 'header' | 'start' | 'steps'>>;
