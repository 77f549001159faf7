import { propertyName } from '/ui/js/properties.js';
import { accusedBy } from '/ui/js/story.js';

export const tests = {
  sentence_of_a_broken_property_names_what_it_is_about(equal) {
    const at = { step: { process: 'server 3' } };
    equal(
      accusedBy({ why: 'server 2 was elected in term 5 without entry 2, committed in term 4' }, at),
      { servers: ['server 2'], index: 2 },
    );
    equal(accusedBy({ why: 'servers 1 and 3 differ at index 4' }, at), {
      servers: ['server 1', 'server 3'],
      index: 4,
    });
    equal(accusedBy({ why: 'a read saw an old value' }, at), {
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
