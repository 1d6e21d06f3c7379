/**
 * The editor: CodeMirror with Lua highlighting, colours from the page's CSS, and a mark on a line with an error.
 *
 * It stands in a shadow root: there CodeMirror makes its styles as sheets of the document's own, where in the page itself it would make
 * style elements, which a strict Content-Security-Policy refuses.
 */

import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, indentUnit, StreamLanguage, syntaxHighlighting } from '@codemirror/language';
import { lua } from '@codemirror/legacy-modes/mode/lua';
import { StateEffect, StateField } from '@codemirror/state';
import {
  Decoration,
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
  WidgetType,
  type DecorationSet,
} from '@codemirror/view';
import { tags } from '@lezer/highlight';

export interface Editor {
  readonly text: string;
  replace(text: string): void;
  /** Marks a line with what went wrong there and brings it into view; null takes the mark away. Editing takes it away, too. */
  mark(line: number | null, message?: string): void;
  /** Puts the cursor on a line. */
  goTo(line: number): void;
  focus(): void;
}

/**
 * @param onRun is called for Ctrl+Enter (Cmd+Enter on a Mac)
 * @param onChange is called after each edit
 */
export function createEditor(parent: HTMLElement, text: string, onRun: () => void, onChange: () => void): Editor {
  const run = (): boolean => {
    onRun();
    return true;
  };
  const root = parent.attachShadow({ mode: 'open' });
  const view = new EditorView({
    parent: root,
    root,
    doc: text,
    extensions: [
      keymap.of([{ key: 'Mod-Enter', run }, { key: 'Ctrl-Enter', run }, indentWithTab, ...defaultKeymap, ...historyKeymap]),
      history(),
      lineNumbers(),
      drawSelection(),
      bracketMatching(),
      highlightActiveLine(),
      highlightActiveLineGutter(),
      indentUnit.of('  '),
      StreamLanguage.define(lua),
      syntaxHighlighting(COLOURS),
      THEME,
      errorLine,
      EditorView.domEventHandlers({ beforeinput: replaceSelection }),
      EditorView.contentAttributes.of({ tabindex: '0', 'aria-label': 'Lua program. Escape, then Tab, leaves the editor.' }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) onChange();
      }),
    ],
  });
  return {
    get text() {
      return view.state.doc.toString();
    },
    replace(replacement) {
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: replacement } });
    },
    mark(line, message = '') {
      const inside = line !== null && line >= 1 && line <= view.state.doc.lines;
      const effects: StateEffect<unknown>[] = [setErrorLine.of(inside ? { line, message } : null)];
      if (inside) effects.push(EditorView.scrollIntoView(view.state.doc.line(line).from, { y: 'nearest', yMargin: 40 }));
      view.dispatch({ effects });
    },
    goTo(line) {
      if (line < 1 || line > view.state.doc.lines) return;
      const { from } = view.state.doc.line(line);
      view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: 'center' }) });
      view.focus();
    },
    focus() {
      view.focus();
    },
  };
}

/**
 * What is typed in place of a selection. Left to it, Chromium keeps the look of what was there by style attributes, which the page's policy
 * refuses aloud.
 */
function replaceSelection(event: InputEvent, view: EditorView): boolean {
  const { data, inputType } = event;
  if (inputType !== 'insertText' || data === null || view.state.selection.main.empty) return false;
  view.dispatch(view.state.replaceSelection(data), { userEvent: 'input.type', scrollIntoView: true });
  event.preventDefault();
  return true;
}

interface ErrorLine {
  line: number;
  message: string;
}

const setErrorLine = StateEffect.define<ErrorLine | null>();

/** The message under the line. It is for the eye: the output has it for everyone. */
class ErrorMessage extends WidgetType {
  constructor(private readonly message: string) {
    super();
  }

  override eq(other: ErrorMessage): boolean {
    return other.message === this.message;
  }

  toDOM(): HTMLElement {
    const shown = document.createElement('div');
    shown.className = 'error-message';
    shown.setAttribute('aria-hidden', 'true');
    shown.textContent = this.message;
    return shown;
  }
}

const errorLine = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    for (const effect of transaction.effects) {
      if (!effect.is(setErrorLine)) continue;
      if (effect.value === null) return Decoration.none;
      const { line, message } = effect.value;
      const { from, to } = transaction.state.doc.line(line);
      const mark = Decoration.line({ class: 'error-line' }).range(from);
      if (message === '') return Decoration.set([mark]);
      const below = Decoration.widget({ widget: new ErrorMessage(message), block: true, side: 1 });
      return Decoration.set([mark, below.range(to)]);
    }
    return transaction.docChanged ? Decoration.none : marks;
  },
  provide: (field) => EditorView.decorations.from(field),
});

const COLOURS = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--code-keyword)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.atom], color: 'var(--code-number)' },
  { tag: tags.comment, color: 'var(--code-comment)', fontStyle: 'italic' },
  { tag: [tags.standard(tags.variableName), tags.standard(tags.name)], color: 'var(--code-library)' },
]);

const THEME = EditorView.theme({
  '&': { height: '100%', color: 'var(--text)', backgroundColor: 'transparent', fontSize: '14px' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.6' },
  '.cm-content': { padding: '12px 0', caretColor: 'var(--accent)' },
  '.cm-gutters': { backgroundColor: 'transparent', color: 'var(--quiet)', border: 'none', paddingLeft: '8px' },
  '.cm-activeLine': { backgroundColor: 'var(--active-line)' },
  '.cm-activeLineGutter': { backgroundColor: 'transparent', color: 'var(--muted)' },
  '.error-line': { background: 'var(--error-soft) !important', boxShadow: 'inset 3px 0 var(--error)' },
  '.error-message': {
    padding: '2px 12px 6px 6px',
    background: 'var(--error-soft)',
    boxShadow: 'inset 3px 0 var(--error)',
    color: 'var(--error)',
    fontFamily: 'var(--sans)',
    fontSize: '12.5px',
    whiteSpace: 'pre-wrap',
    overflowWrap: 'anywhere',
  },
  '.cm-cursor': { borderLeftColor: 'var(--accent)', borderLeftWidth: '2px' },
  '.cm-matchingBracket': { backgroundColor: 'var(--bracket) !important', outline: 'none' },
  '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': {
    backgroundColor: 'var(--selection) !important',
  },
});
