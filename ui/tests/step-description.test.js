import { propertyName } from '/ui/js/properties.js';
import { accusedBy } from '/ui/js/step-description.js';
import { Timeline } from '/ui/js/timeline.js';
import { run } from './samples.js';

/** @type {PageTests} */
export const tests = {
  violation_accuses_the_servers_and_the_entry_of_its_cause(equal) {
    const [start] = run().steps;
    const at = { ...new Timeline(run()).at(0), step: { ...start, process: 'server 3' } };
    /** @param {Diagnostic} cause */
    const accused = (cause) => accusedBy({ property: 'LogMatching', why: '', cause }, at);
    equal(accused({ code: 'LeaderLacksEntry', server: 2, term: 5, index: 2 }), {
      servers: ['server 2'],
      index: 2,
    });
    equal(accused({ code: 'LogsDiffer', server: 1, other: 3, index: 4 }), {
      servers: ['server 1', 'server 3'],
      index: 4,
    });
    equal(accused({ code: 'NotLinearizable', operations: [] }), {
      servers: ['server 3'],
      index: null,
    });
    equal(accusedBy(null, at), null);
  },
  property_has_one_name_however_it_is_written(equal) {
    equal(
      [propertyName('LeaderCompleteness'), propertyName('Leader Completeness')],
      ['Leader Completeness', 'Leader Completeness'],
    );
  },
};
