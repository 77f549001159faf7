// The JSON that the page receives, and the views that its parts exchange. For the type check alone: the
// scripts name these types in their comments, and no browser loads this file.
//
// Sources: docs/trace.md (runs), docs/explore.md (the checker), docs/http.md (the proxy).

type Timeline = import('./assets/js/timeline.js').Timeline;

/* Runs (docs/trace.md). */

/** `{Node: 2}`, `{Proxy: 1}` or `{Client: 1}`. */
type Address = Record<string, number>;
/** An object with the name of the message's kind, which has the fields. */
type Message = Record<string, any>;
type Envelope = { from: Address; to: Address; message: Message };
/** Traces have bytes as lists of numbers, other sources have texts. */
type Bytes = number[] | string;
type Entry = { term: number; payload: any };
type HardState = { current_term: number; voted_for: number | null };

type Disk = {
  hard_state?: HardState;
  snapshot?: { last_included_index: number } | null;
  snapshot_index?: number;
  log_start?: number;
  log?: Entry[];
};

/** A leader's transfer of its leadership; `is_requested` is whether it has sent TimeoutNow. */
type Transfer = { target: number; is_requested: boolean };

type Follower = { id: number; next_index: number; match_index: number };

/** The part of a server's state that a crash loses. */
type Running = {
  role: string;
  term: number;
  voted_for: number | null;
  leader: number | null;
  votes?: number[];
  log: Entry[];
  log_base?: { index: number; term: number };
  log_start?: number;
  commit_index: number;
  applied_index?: number;
  durable_index?: number;
  snapshot_index?: number;
  unsynced?: unknown[];
  followers?: Follower[];
  reads?: unknown[];
  /** Of a leader: its leadership transfer in progress. */
  transfer?: Transfer | null;
  store?: { key: Bytes; value: Bytes; version: number }[];
};

/** The state of a process; the fields depend on its kind. */
type Snapshot = {
  kind: 'server' | 'proxy' | 'client';
  id: number;
  down?: boolean;
  /** Of a server. `running` is `null` while it is down. */
  disk?: Disk;
  running?: Running | null;
  log_start?: number;
  snapshot_index?: number;
  /** Of a proxy. */
  leader?: number | null;
  in_flight?: number;
  /** Of a client. */
  idle?: boolean;
  session?: number | null;
  run?: number;
  invoked?: number;
  operation?: Bytes;
};

/** A sentence of the checker as data (docs/explore.md): its code and the parameters of that code. */
type Diagnostic = {
  code: string;
  server?: number;
  other?: number;
  index?: number;
  [parameter: string]: any;
};
/** An operation of a client, with the ids of the operations that had returned before its call. */
type Operation = { id: number[]; call: any; after: number[][]; end: any };

type Violation = { property: string; why: string; cause?: Diagnostic | null };

type Step = {
  step: number;
  process: string;
  event: string | Record<string, any>;
  sent?: Envelope[];
  witnesses?: string[];
  state?: Snapshot;
  /** In a response of the checker: the key in a path, and the properties that the step violates. */
  key?: string;
  violations?: Violation[];
};

/** The name of a step's event and the fields of its value. */
type StepEvent = {
  name: string;
  envelope?: Envelope;
  ask?: number | null;
  client?: number;
  id?: number;
  target?: number;
};

type Header = {
  schema?: string;
  scope?: { name: string };
  mutant?: string | null;
  property?: string | null;
  why?: string | null;
  cause?: Diagnostic | null;
};

type Run = {
  source?: string;
  header?: Header;
  start?: Snapshot[];
  steps?: Step[];
  /** The messages in flight at the start. */
  network?: Envelope[];
  /** The number of steps before the first one here. */
  offset?: number;
};

/* A run as the page draws it (timeline.js). */

/** A message of a run, with the numbers of the steps that touch it. */
type Sent = {
  id: number;
  from: string;
  to: string;
  message: Message;
  envelope: Envelope;
  sentAt: number;
  sentAgain: number[];
  delivered: number[];
  dropped: number[];
  wasThere: boolean;
  /** The message as drawn while nothing happens to it. */
  quiet?: SentAt;
};

/** A message as of one step. */
type SentAt = {
  id: number;
  from: string;
  to: string;
  message: Message;
  envelope: Envelope;
  sentAt: number;
  sentAgain: number[];
  deliveredAt: number[];
  droppedAt: number | null;
  isNew: boolean;
  isDelivering: boolean;
  isDropping: boolean;
};

type Mark = {
  step: number;
  process: string;
  kind: string;
  term?: number;
  index?: number;
  properties?: Violation[];
};

/** The picture after step `n`. */
type Picture = {
  n: number;
  last: number;
  step: Step | null;
  event: StepEvent | null;
  names: string[];
  processes: Record<string, Snapshot | null>;
  before: Snapshot | null;
  changed: Set<string>;
  readonly inFlight: SentAt[];
  readonly messages: SentAt[];
};

/** The selected message or process. */
type Picked = { message?: number; process?: string };
/** The subjects of a violation. */
type Accused = { servers: string[]; index: number | null };
/** A button for the selection. */
type Offer = {
  words: string;
  run: () => void;
  disabled?: boolean;
  why?: string | null;
  cls?: string;
};

/** The input of the parts that draw one step of a run. */
type RunView = {
  timeline: Timeline;
  at: Picture;
  selected?: Picked | null;
  accused?: Accused | null;
  actions?: Offer[];
  animate?: boolean;
};

/* The checker (docs/explore.md). */

type App = {
  app: string;
  version?: string;
  home: string;
  pages: string[];
  traces_served?: boolean;
  chaos?: boolean;
  token?: boolean;
};

type Bounds = Record<string, number | 'any'>;
type Named = { name: string; about: string };
type ScopeOffer = Named & { bounds: Bounds };
type Mutant = Named & {
  seen_in: string | null;
  property: string;
  method: string;
  scenario: string | null;
  scope: string;
  bounds: Bounds;
};

/** `GET /api/catalog`. */
type Catalog = {
  scopes: ScopeOffer[];
  bounds: (Named & { min: number; max: number; may_be_any: boolean })[];
  mutants: Mutant[];
  properties: Named[];
  predicates: Named[];
  liveness: Named[];
  methods: Named[];
  scenarios: Named[];
};

/** A world: a scope with bounds, a planted bug, and the step granularity. */
type World = {
  name: string;
  known: boolean;
  bounds: Bounds;
  mutant: string | null;
  steps: string;
};

type Action = {
  key: string;
  process: string;
  kind: string;
  message: number | null;
  label: string;
  allowed: boolean;
  why_not: string | null;
  cause: Diagnostic | null;
  effect: boolean;
};

/** The details of a state, of `POST /api/walk`. */
type Here = {
  actions: Action[];
  properties: {
    property: string;
    holds: boolean;
    why: string | null;
    cause: Diagnostic | null;
    step: number | null;
  }[];
  witnesses: { name: string; required: boolean; reached: boolean }[];
  budgets: { name: string; used: number; of: number }[];
  messages: { id: number; from: string; to: string; message: Message; sent_at: number }[];
};

/** `POST /api/walk`; `good` is the number of valid keys if the path is not valid to its end. */
type Walked = { header: Header; start: Snapshot[]; steps: Step[]; here: Here; good?: number };

/** The last event of a job. */
type JobDone = {
  verdict: string;
  summary: string;
  result: Diagnostic;
  property?: string | null;
  why?: string | null;
  cause?: Diagnostic | null;
  path?: string[] | null;
  steps?: string;
  states?: number;
  method?: string | null;
  stuck_after?: number | null;
  ticks?: number[] | null;
  elapsed_seconds?: number;
};

/** The result of a search whose path the page shows. */
type Result = {
  path: string[];
  /** The property that the path violates, or `null` if the search found a state. */
  property: string | null;
  why: string;
  cause: Diagnostic | null;
  verdict: string;
  states: number;
  method: string | null;
  stuck: number | null;
  ticks: number[] | null;
  seconds: number;
};

/** The parameters of the address. */
type Params = Record<string, string>;
type Place = { page: string; rest?: string[]; params?: Record<string, unknown> };

/** The services of the shell for a page (main.js). */
type PageContext = {
  params: Params;
  rest: string[];
  app: App;
  navigate: (
    to: string | Place,
    options?: { replace?: boolean; quiet?: boolean; push?: boolean },
  ) => void;
  shortcuts: (list: Shortcut[]) => void;
};
type Shortcut = { keys: string; what: string };

/* Opened traces (docs/explore.md). */

type Verdict = {
  accepted: boolean;
  why?: string;
  cause?: Diagnostic | null;
  file?: string | null;
  line?: number | null;
};
/** A walk in the explorer. */
type WalkPath = {
  scope: { name: string; bounds: Bounds };
  mutant: string | null;
  steps?: string;
  path: string[];
};
type TraceFile = { name: string; text: string };
/** The part of a long run: its first or its last step. */
type Part = { from?: number; to?: number };
type Opened = {
  kind: string;
  timeline: Timeline;
  verdict: Verdict;
  walk: WalkPath | null;
  /** The number of steps of the whole run. */
  of: number;
  files?: TraceFile[];
  usedDisks?: boolean;
};

/* Guided tours (docs/tours.md). */

/** A text by language. */
type Texts = Record<string, string>;
type TourPart = {
  trace: string;
  scope: string;
  bounds?: Bounds;
  mutant?: string;
  steps?: string;
  title: Texts;
  cards: TourCard[];
  timeline: Timeline;
};
type TourCard = { head: Texts; text: Texts; look?: string[]; cites?: string[]; do?: string[] };
/** A card of a loaded tour: its part, and the steps that it covers. */
type PlacedCard = TourCard & {
  part: TourPart;
  number: number;
  place: number;
  from: number;
  to: number;
};
type Tour = { name: string; title: Texts; summary: Texts; parts: TourPart[]; cards: PlacedCard[] };

/* The proxy (docs/http.md). */

type Progress = {
  lag: number;
  match_index: number;
  next_index: number;
  silent_ms: number;
  flow: string;
  window: number;
  counts?: boolean;
};

/** The status of a server. */
type Status = {
  id: number;
  role: string;
  term: number;
  voted_for: number | null;
  leader: number | null;
  votes: number[];
  log: Entry[];
  log_start: number;
  commit_index: number;
  applied_index: number;
  durable_index: number;
  last_index: number;
  snapshot_index: number;
  uptime_seconds: number;
  followers: Record<string, Progress>;
  counts: Record<string, number>;
  suspended?: string | null;
  alerts?: Alert[];
};
type Alert = { kind: string; node: number; text: string };

/** A server as the proxy sees it; `last` is the last status of a silent server. */
type ClusterNode = {
  id: number;
  status: Status | null;
  problem?: string | null;
  cause?: { code: string; [parameter: string]: any } | null;
  last?: Status | null;
  age_ms?: number | null;
};

type Health = {
  state: string;
  servers: number;
  up: number;
  majority: number;
  margin: number;
  commit_index: number;
  commit_age_ms: number | null;
};

/** The faults of a link: `delay_ms` is the least and the greatest delay. */
type LinkFault = {
  cut?: boolean;
  drop?: number;
  duplicate?: number;
  reorder?: number;
  delay_ms?: number[];
};
type End = number | string;
type Chaos = {
  embedded: boolean;
  links: { from: End; to: End; faults: LinkFault; seconds_left: number | null }[];
  isolated: { node: number; seconds_left: number | null }[];
  halted: { node: number; how: string; seconds_left: number | null }[];
};

/** The state of the cluster, of `GET /v1/events`. */
type Cluster = {
  cluster: string;
  health: Health | null;
  proxy: { leader: number | null; requests_in_flight: number };
  nodes: ClusterNode[];
  chaos: Chaos | null;
  keys: { items: KeyItem[]; more: boolean; fresh: boolean };
};
type KeyItem = {
  key: string;
  value: string;
  version: number;
  key_encoding?: string;
  value_encoding?: string;
  cut?: boolean;
};

/** An entry of the proxy's event log. */
type ClusterEvent = { id: number; at: number; what: string; [field: string]: any };

type Percentiles = { p50: number | null; p99: number | null };
type Sample = {
  at: number;
  over_ms: number;
  operations: Record<string, { answered: number; unavailable: number }>;
  reads_us?: Percentiles;
  writes_us?: Percentiles;
};
/** The values of a sample for the charts: per second, and milliseconds. */
type Figures = {
  at: number;
  reads: number;
  writes: number;
  failed: number;
  r50: number | null;
  r99: number | null;
  w50: number | null;
  w99: number | null;
};

/* The page. */

/** A child of an element. */
type Content = Node | string | number | boolean | null | undefined | Content[];
/** The attributes, listeners and style of an element. */
type Props = Record<string, any>;
/** An element of the page, with the fields that its owner sets. */
type PageElement = any;

type Size = { width: number; height: number };
type Point = { x: number; y: number };
/** The position of a process on the stage. */
type Spot = Point & { r: number; side: string; kind: string; crown?: boolean };
type Box = Point & { name?: string; w: number; h: number };
type Curve = { d: string; point: (s: number) => Point; bend: number };
/** A label of a line of the stage, once it has a position. */
type Label = Point & { w: number; words: string; lead: Point | null; curve: Curve };
type StageLayout = { places: Map<string, Spot>; boxes: Box[] };
