/* Names the models in the figures, links them with the tables, and sorts, filters, hides and copies. Needs nothing else. */
(function () {
  'use strict';
  var NEAR = 14;
  var tip = make('div', 'tip'), marks = null, current = null, lit = null;
  var models = document.getElementById('models');
  var text = '', off = new Set();
  tip.setAttribute('role', 'status');
  tip.hidden = true;
  document.body.append(tip);

  function make(tag, name, words) {
    var element = document.createElement(tag);
    if (name) element.className = name;
    if (words) element.textContent = words;
    return element;
  }
  function of(m) {
    if (!marks) {
      marks = new Map();
      document.querySelectorAll('[data-m]').forEach(function (e) {
        var key = e.dataset.m;
        if (!marks.has(key)) marks.set(key, []);
        marks.get(key).push(e);
      });
    }
    return marks.get(m) || [];
  }
  function row(table, m) { return table && table.querySelector('tbody tr[data-m="' + m + '"]'); }
  function main(cell) {
    var parts = [];
    cell.childNodes.forEach(function (n) {
      if (n.nodeName !== 'SMALL' && n.nodeName !== 'INPUT') parts.push(n.textContent);
    });
    return parts.join('').trim();
  }
  function details(cell) {
    return Array.from(cell.querySelectorAll('small'), function (e) { return e.textContent.trim(); }).join('; ');
  }
  function heads(table) { return Array.from(table.tHead.rows[0].cells, main); }

  /* The same model everywhere. */
  function show(m, svg) {
    if (m !== current) {
      if (current !== null) of(current).forEach(function (e) { e.classList.remove('on'); });
      current = m;
      if (m !== null) of(m).forEach(function (e) { e.classList.add('on'); });
    }
    if (svg !== lit) {
      if (lit) lit.classList.remove('lit');
      lit = svg;
      if (svg) svg.classList.add('lit');
    }
    if (m === null) tip.hidden = true;
  }
  function tell(svg, m, x, y) {
    var table = document.getElementById(svg.dataset.table || 'models');
    var line = row(table, m) || row(models, m);
    if (!line) return;
    var names = heads(line.closest('table'));
    tip.replaceChildren(make('b', '', main(line.cells[0])));
    Array.from(line.cells).slice(1).forEach(function (cell, at) {
      var value = main(cell);
      if (!value || value === '–') return;
      var more = details(cell), part = make('div');
      part.append(make('i', '', names[at + 1] + ': '), value + (more ? ' (' + more + ')' : ''));
      tip.append(part);
    });
    tip.hidden = false;
    var box = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(x + 14, innerWidth - box.width - 8)) + 'px';
    tip.style.top = (y + 18 + box.height > innerHeight ? Math.max(8, y - box.height - 12) : y + 18) + 'px';
  }
  function points(svg) {
    if (!svg.points) {
      svg.points = Array.from(svg.querySelectorAll('use[data-m], g[data-m]')).filter(function (e) {
        return e.tagName === 'use' || !e.querySelector('text');
      }).map(function (e) {
        var box = e.tagName === 'use' ? null : e.getBBox();
        return { m: e.dataset.m, e: e,
                 x: box ? box.x + box.width : +e.getAttribute('x'), y: box ? box.y + box.height / 2 : +e.getAttribute('y') };
      }).sort(function (a, b) { return a.x - b.x || a.y - b.y; });
    }
    return svg.points;
  }
  function nearest(svg, event) {
    var inside = event.target.closest('[data-m]');
    if (inside && svg.contains(inside)) return inside.dataset.m;
    var matrix = svg.getScreenCTM();
    if (!matrix) return null;
    var at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    var best = null, least = NEAR / Math.max(matrix.a, 0.1);
    points(svg).forEach(function (p) {
      var away = Math.hypot(p.x - at.x, p.y - at.y);
      if (away < least && !p.e.classList.contains('gone')) { best = p.m; least = away; }
    });
    return best;
  }
  function over(event) {
    var svg = event.target.closest && event.target.closest('.panels svg');
    if (svg) {
      var m = nearest(svg, event);
      show(m, m === null ? null : svg);
      if (m !== null) tell(svg, m, event.clientX, event.clientY);
      return;
    }
    var line = event.target.closest && event.target.closest('tr[data-m]');
    show(line ? line.dataset.m : null, null);
    tip.hidden = true;
  }
  document.addEventListener('pointermove', over);
  document.addEventListener('pointerdown', over);

  /* The keyboard: a drawing is one stop, the arrows go from point to point, from left to right. */
  function step(svg, by) {
    var known = points(svg).filter(function (p) { return !p.e.classList.contains('gone'); });
    if (!known.length) return;
    svg.at = ((svg.at === undefined ? (by < 0 ? 0 : -1) : svg.at) + by + known.length) % known.length;
    var p = known[svg.at], box = p.e.getBoundingClientRect();
    show(p.m, svg);
    tell(svg, p.m, box.left + box.width / 2, box.top + box.height / 2);
  }
  document.querySelectorAll('.panels svg[tabindex]').forEach(function (svg) {
    svg.addEventListener('focus', function () { if (svg.matches(':focus-visible')) step(svg, 1); });
    svg.addEventListener('blur', function () { svg.at = undefined; show(null, null); });
    svg.addEventListener('keydown', function (event) {
      var by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (by) { step(svg, by); event.preventDefault(); }
      if (event.key === 'Escape') { svg.at = undefined; show(null, null); }
    });
  });
  document.addEventListener('focusin', function (event) {
    var line = event.target.closest('tr[data-m]');
    if (line) show(line.dataset.m, null);
  });

  /* Tables. */
  function value(cell) {
    var words = cell ? main(cell) : '';
    var found = /^[<≈+]?\s*([−-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)/.exec(words);
    if (found) return parseFloat(found[1].replace('−', '-').replace(/,/g, ''));
    return words === '–' || words === '' || words === 'failed' ? null : words;
  }
  function sort(table, column, head) {
    var body = table.tBodies[0], lines = Array.from(body.rows);
    lines.forEach(function (line, at) { if (line.at === undefined) line.at = at; });
    var before = head.getAttribute('aria-sort'), isText = head.classList.contains('text') || head.classList.contains('name');
    var order = isText ? ['ascending', 'descending', null] : ['descending', 'ascending', null];
    var now = before ? order[order.indexOf(before) + 1] : order[0];
    Array.from(head.parentNode.cells).forEach(function (each) { each.removeAttribute('aria-sort'); });
    if (now) head.setAttribute('aria-sort', now);
    var sign = now === 'descending' ? -1 : 1, keys = new Map();
    lines.forEach(function (line) { keys.set(line, value(line.cells[column])); });
    lines.sort(function (one, two) {
      var a = keys.get(one), b = keys.get(two);
      if (!now || a === b) return one.at - two.at;
      if (a === null || b === null) return a === null ? 1 : -1;
      if (typeof a === 'number' && typeof b === 'number') return sign * (a - b);
      return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
    });
    body.append.apply(body, lines);
  }
  function quoted(words) {
    if (/^[=@\t]/.test(words) || /^[+-](?![\d.])/.test(words)) words = "'" + words;
    return /[",\n\r]/.test(words) ? '"' + words.replace(/"/g, '""') + '"' : words;
  }
  function csv(table) {
    var names = heads(table);
    var lines = Array.from(table.tBodies[0].rows).filter(function (line) {
      return !line.classList.contains('gone') && !line.classList.contains('off');
    });
    var split = names.map(function (_, at) { return lines.some(function (line) { return line.cells[at] && details(line.cells[at]); }); });
    var out = [names.reduce(function (found, name, at) { return found.concat(split[at] ? [name, name + ' (detail)'] : [name]); }, [])];
    lines.forEach(function (line) {
      out.push(names.reduce(function (found, _, at) {
        var cell = line.cells[at], words = cell ? main(cell).replace(/−/g, '-') : '';
        if (/^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$/.test(words)) words = words.replace(/,/g, '');
        return found.concat(split[at] ? [words, cell ? details(cell) : ''] : [words]);
      }, []));
    });
    return out.map(function (line) { return line.map(quoted).join(','); }).join('\r\n') + '\r\n';
  }
  function copy(words, button) {
    function done(ok) {
      button.textContent = ok ? 'Copied' : 'Not allowed here';
      setTimeout(function () { button.textContent = 'Copy as CSV'; }, 1500);
    }
    function byHand() {
      var area = make('textarea');
      area.value = words;
      document.body.append(area);
      area.select();
      var ok = false;
      try { ok = document.execCommand('copy'); } catch (error) { ok = false; }
      area.remove();
      done(ok);
    }
    if (navigator.clipboard) navigator.clipboard.writeText(words).then(function () { done(true); }, byHand);
    else byHand();
  }
  document.querySelectorAll('.scroll > table').forEach(function (table) {
    if (table.tBodies[0].rows.length < 2) return;
    Array.from(table.tHead.rows[0].cells).forEach(function (head, column) {
      var button = make('button', 'sort');
      button.type = 'button';
      button.append.apply(button, Array.from(head.childNodes));
      head.append(button);
      button.addEventListener('click', function () { sort(table, column, head); });
    });
    var button = make('button', 'copy', 'Copy as CSV');
    button.type = 'button';
    button.addEventListener('click', function () { copy(csv(table), button); });
    table.parentNode.after(button);
  });

  /* Which lines of the first table are shown, and with them their points in figures and lines in other tables. */
  function named(line) { return line.dataset.name || main(line.cells[0]); }
  function leaves(line) { return text && named(line).toLowerCase().indexOf(text) < 0; }
  function apply() {
    var shown = 0, known = new Set();
    Array.from(models.tBodies[0].rows).forEach(function (line) {
      var m = line.dataset.m, out = leaves(line), hidden = off.has(m);
      known.add(m);
      if (!out && !hidden) shown += 1;
      of(m).forEach(function (e) { e.classList.toggle('gone', out || (hidden && e !== line)); });
      line.classList.toggle('off', hidden);
    });
    document.querySelectorAll('tr[data-m]').forEach(function (line) {  /* what that table has no line for */
      if (known.has(line.dataset.m)) return;
      var out = leaves(line);
      of(line.dataset.m).forEach(function (e) { e.classList.toggle('gone', out); });
    });
    said.textContent = shown + ' of ' + models.tBodies[0].rows.length + ' ' + noun + ' shown; ' + kept;
    show(null, null);
  }
  if (models && models.tBodies[0].rows.length > 1) {
    var noun = models.dataset.noun || 'models', kept = models.dataset.kept || 'lines and ranks are those of all';
    var tools = make('div', 'tools'), field = make('input'), all = make('button', '', 'Show all'), said = make('span');
    field.type = 'search';
    field.placeholder = noun.charAt(0).toUpperCase() + noun.slice(1) + ' whose name has …';
    field.setAttribute('aria-label', 'Show ' + noun + ' whose name has');
    all.type = 'button';
    tools.append(field, all, said);
    models.parentNode.before(tools);
    Array.from(models.tBodies[0].rows).forEach(function (line) {
      var box = make('input');
      box.type = 'checkbox';
      box.checked = true;
      box.setAttribute('aria-label', 'Show ' + named(line));
      box.addEventListener('change', function () {
        if (box.checked) off.delete(line.dataset.m); else off.add(line.dataset.m);
        apply();
      });
      line.cells[0].prepend(box);
    });
    field.addEventListener('input', function () { text = field.value.trim().toLowerCase(); apply(); });
    all.addEventListener('click', function () {
      field.value = text = '';
      off.clear();
      models.querySelectorAll('th input').forEach(function (box) { box.checked = true; });
      apply();
    });
  }
})();
