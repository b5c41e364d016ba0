import type { CommandRow, GroupRow, OptionRow } from './command.js';

/** The shells that escrowctl can complete in. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
/** One of {@link SHELLS}. */
export type Shell = (typeof SHELLS)[number];

/** Everything that can be typed: groups with their commands, commands by themselves, options of every command. */
export interface Vocabulary {
  readonly groups: readonly GroupRow[];
  readonly commands: readonly CommandRow[];
  readonly options: readonly OptionRow[];
}

/** The script that a shell reads to complete escrowctl; nothing of it asks a server. */
export function completionScript(shell: Shell, vocabulary: Vocabulary): string {
  switch (shell) {
    case 'bash':
      return bashScript(vocabulary);
    case 'zsh':
      return zshScript(vocabulary);
    case 'fish':
      return fishScript(vocabulary);
  }
}

/** What may stand behind a path of words: `''`, `key`, `key generate`. */
interface Place {
  readonly path: string;
  readonly words: readonly { readonly word: string; readonly about: string }[];
  readonly options: readonly OptionRow[];
}

function placesOf({ groups, commands, options }: Vocabulary): readonly Place[] {
  const word = (row: CommandRow): { word: string; about: string } => ({
    word: nameOf(row),
    about: row.summary,
  });
  const leaf = (path: string, row: CommandRow): Place => ({
    path,
    words: [],
    options: [...(row.options ?? []), ...options],
  });
  return [
    {
      path: '',
      words: [...groups.map(({ name, summary }) => ({ word: name, about: summary })), ...commands.map(word)],
      options,
    },
    ...groups.flatMap((group) => [
      {
        path: group.name,
        words: group.commands.map(word),
        options: [...(group.itself?.options ?? []), ...options],
      },
      ...group.commands.map((row) => leaf(`${group.name} ${nameOf(row)}`, row)),
    ]),
    ...commands.map((row) => leaf(nameOf(row), row)),
  ];
}

/** zsh runs completions of bash (zshcompsys, "Use of compinit"). The first time the file itself is the function. */
function zshScript(vocabulary: Vocabulary): string {
  return `#compdef escrowctl
autoload -U +X bashcompinit && bashcompinit
${bashScript(vocabulary)}if [[ "\${funcstack[1]-}" == _escrowctl ]]; then _bash_complete -o default -F _escrowctl; fi
`;
}

function bashScript(vocabulary: Vocabulary): string {
  const places = placesOf(vocabulary);
  const valued = distinct(places.flatMap(({ options }) => options.filter(takesValue).map(flagOf)));
  const choices = places.flatMap(({ path, options }) =>
    options.flatMap((option) =>
      option.choices === undefined
        ? []
        : [`    '${path} ${flagOf(option)}') words='${option.choices.join(' ')}' ;;`],
    ),
  );
  const groups = vocabulary.groups.map(({ name }) => name).join('|');
  return `_escrowctl() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path='' words='' depth=0 index
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "\${COMP_WORDS[index]}" in
      ${valued.join('|')}) ((index++)) ;;
      -*) ;;
      *)
        if ((depth == 0)); then
          path=\${COMP_WORDS[index]}; depth=1
          case "$path" in ${groups}) ;; *) depth=2 ;; esac
        elif ((depth == 1)); then
          path="$path \${COMP_WORDS[index]}"; depth=2
        fi ;;
    esac
  done
  COMPREPLY=()
  case "$path $previous" in
${choices.join('\n')}
  esac
  if [ -z "$words" ]; then case "$previous" in
    ${valued.join('|')}) return ;;
  esac; fi
  if [ -z "$words" ]; then
    case "$path" in
${places.map(bashPlace).join('\n')}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _escrowctl escrowctl
`;
}

function bashPlace({ path, words, options }: Place): string {
  const all = [...words.map(({ word }) => word), ...distinct(options.map(flagOf))];
  return `      '${path}') words='${all.join(' ')}' ;;`;
}

function fishScript(vocabulary: Vocabulary): string {
  const lines = placesOf(vocabulary).flatMap(({ path, words, options }) => {
    const when = fishCondition(path);
    // those of every command are told once, below
    const own = path === '' ? [] : options.filter((option) => !vocabulary.options.includes(option));
    return [
      ...words.map(({ word, about }) => `complete -c escrowctl ${when} -f -a ${word} -d ${quoted(about)}`),
      ...own.map((option) => `complete -c escrowctl ${when} ${fishOption(option)}`),
    ];
  });
  const common = vocabulary.options.map((option) => `complete -c escrowctl ${fishOption(option)}`);
  return `${[...lines, ...common].join('\n')}\n`;
}

function fishCondition(path: string): string {
  const [group, command] = path.split(' ');
  if (path === '') return `-n __fish_use_subcommand`;
  const seen = `__fish_seen_subcommand_from ${group ?? ''}`;
  return command === undefined ? `-n '${seen}'` : `-n '${seen}; and __fish_seen_subcommand_from ${command}'`;
}

function fishOption(option: OptionRow): string {
  const choices = option.choices === undefined ? '' : ` -x -a '${option.choices.join(' ')}'`;
  const value = takesValue(option) && choices === '' ? ' -r' : '';
  return `-l ${flagOf(option).slice(2)}${choices}${value} -d ${quoted(option.about)}`;
}

function nameOf({ usage }: CommandRow): string {
  return usage.split(' ', 1)[0] ?? usage;
}

/** The long flag: `--out` of `-o, --out <file>`. */
function flagOf({ flags }: OptionRow): string {
  return /--[a-z0-9-]+/.exec(flags)?.[0] ?? flags;
}

function takesValue({ flags }: OptionRow): boolean {
  return flags.includes('<') || flags.includes('[');
}

/** As fish quotes: only the quote and the backslash are special between single quotes. */
function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}

function distinct(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)];
}
