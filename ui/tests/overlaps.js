// What is wrong with a picture of the stage, as a reader sees it: labels over circles, over small print
// or over one another, circles that touch, lines across a process that they do not end at, ends at
// another process than the one meant, lines through the small print of their ends, anything cut off at
// the edge. Returns sentences; none is good.
//
// Used by the tests of the modules and, as the body of a function, by the tests in the browser.

export function overlaps(picture) {
  const found = [];
  const frame = picture.getBoundingClientRect();
  const nameOf = (group) => group.querySelector('.name')?.textContent ?? '?';
  const processes = [...picture.querySelectorAll('.nodes > .process')].map((group) => {
    const box = group.querySelector('.body').getBoundingClientRect();
    const key = [...group.parentNode.keyedChildren].find(([, element]) => element === group)?.[0];
    const round = group.classList.contains('is-server');
    return {
      key,
      name: nameOf(group),
      group,
      box,
      round,
      x: box.x + box.width / 2,
      y: box.y + box.height / 2,
      r: Math.min(box.width, box.height) / 2,
    };
  });
  const labels = [...picture.querySelectorAll('.labels > g, .links > g')].map((group) => ({
    name: group.querySelector('text').textContent,
    box: group.querySelector('rect').getBoundingClientRect(),
  }));
  const facts = processes.flatMap((one) =>
    [...one.group.querySelectorAll('.fact')].map((line) => ({
      name: line.textContent,
      of: one,
      box: line.getBoundingClientRect(),
    })),
  );
  const inks = labels.map(({ name }, i) => ({
    name,
    box: picture.querySelectorAll('.labels > g text, .links > g text')[i].getBoundingClientRect(),
  }));

  const meet = (one, other) =>
    Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1 &&
    Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1;
  const far = (process, { x, y }) => {
    if (process.round) return Math.hypot(process.x - x, process.y - y) - process.r;
    const { left, right, top, bottom } = process.box;
    return Math.hypot(Math.max(0, left - x, x - right), Math.max(0, top - y, y - bottom));
  };
  const behind = (process, { left, right, top, bottom }) =>
    far(process, {
      x: Math.max(left, Math.min(right, process.x)),
      y: Math.max(top, Math.min(bottom, process.y)),
    }) < 1;

  processes.forEach((one, i) =>
    processes.slice(i + 1).forEach((other) => {
      const gap =
        one.round && other.round
          ? Math.hypot(one.x - other.x, one.y - other.y) - one.r - other.r
          : Number(!meet(one.box, other.box)) * 99;
      if (gap < 8) found.push(`${one.name} and ${other.name} are ${gap.toFixed(0)} px apart`);
    }),
  );
  for (const process of processes.filter(({ round }) => round)) {
    for (const line of process.group.querySelectorAll('.words text')) {
      const { left, right, top, bottom } = line.getBoundingClientRect();
      if (
        Math.max(
          far(process, { x: left, y: (top + bottom) / 2 }),
          far(process, { x: right, y: (top + bottom) / 2 }),
        ) > 3
      )
        found.push(`"${line.textContent}" sticks out of ${process.name}`);
    }
  }
  labels.forEach((one, i) => {
    labels.slice(i + 1).forEach((other) => {
      if (meet(one.box, other.box))
        found.push(`the labels "${one.name}" and "${other.name}" overlap`);
    });
    for (const fact of facts)
      if (meet(one.box, fact.box))
        found.push(`the label "${one.name}" lies over "${fact.name}" of ${fact.of.name}`);
    for (const process of processes)
      if (behind(process, one.box)) found.push(`the label "${one.name}" lies over ${process.name}`);
    const ink = inks[i].box;
    if (ink.width > one.box.width + 1)
      found.push(`the label "${one.name}" is wider than its frame`);
  });
  facts.forEach((one, i) => {
    facts.slice(i + 1).forEach((other) => {
      if (other.of !== one.of && meet(one.box, other.box))
        found.push(`"${one.name}" of ${one.of.name} lies over "${other.name}" of ${other.of.name}`);
    });
    for (const process of processes)
      if (process !== one.of && behind(process, one.box))
        found.push(`"${one.name}" of ${one.of.name} lies over ${process.name}`);
  });
  for (const { name, box } of [...labels, ...facts, ...processes]) {
    const out = Math.max(
      frame.left - box.left,
      box.right - frame.right,
      frame.top - box.top,
      box.bottom - frame.bottom,
    );
    if (out > 1) found.push(`"${name}" is cut off by ${out.toFixed(0)} px`);
  }
  for (const line of picture.querySelectorAll('path[data-from]')) {
    const [from, to] = [line.dataset.from, line.dataset.to];
    const long = line.getTotalLength();
    const at = (s) => {
      const { x, y } = line.getPointAtLength(long * s);
      return { x: x + frame.left, y: y + frame.top };
    };
    const near = (point) =>
      processes.toSorted((one, other) => far(one, point) - far(other, point))[0];
    if (near(at(0)).key !== from)
      found.push(`the line from ${from} to ${to} begins at ${near(at(0)).key}`);
    if (near(at(1)).key !== to)
      found.push(`the line from ${from} to ${to} ends at ${near(at(1)).key}`);
    if (far(near(at(0)), at(0)) > 24 || far(near(at(1)), at(1)) > 24)
      found.push(`the line from ${from} to ${to} ends in the air`);
    for (let i = 0; i <= 60; i += 1) {
      const across = processes.find(
        (process) => process.key !== from && process.key !== to && far(process, at(i / 60)) < 2,
      );
      if (across) {
        found.push(`the line from ${from} to ${to} crosses ${across.key}`);
        break;
      }
    }
    for (const { name, of, box } of facts.filter((fact) => [from, to].includes(fact.of.key))) {
      const written = {
        left: box.left + 1,
        right: box.right - 1,
        top: box.top + 2,
        bottom: box.bottom - 2,
      };
      for (let i = 0; i <= 60; i += 1) {
        const { x, y } = at(i / 60);
        if (x > written.left && x < written.right && y > written.top && y < written.bottom) {
          found.push(`the line from ${from} to ${to} crosses "${name}" of ${of.name}`);
          break;
        }
      }
    }
  }
  return found;
}
