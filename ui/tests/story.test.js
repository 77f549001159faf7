import { propertyName } from '/ui/js/properties.js';
import { accusedBy } from '/ui/js/story.js';

export const tests = {
  violation_accuses_the_servers_and_the_entry_of_its_cause(equal) {
    const at = { step: { process: 'server 3' } };
    equal(accusedBy({ cause: { code: 'LeaderLacksEntry', server: 2, term: 5, index: 2 } }, at), {
      servers: ['server 2'],
      index: 2,
    });
    equal(accusedBy({ cause: { code: 'LogsDiffer', server: 1, other: 3, index: 4 } }, at), {
      servers: ['server 1', 'server 3'],
      index: 4,
    });
    equal(accusedBy({ cause: { code: 'NotLinearizable', operations: [] } }, at), {
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
