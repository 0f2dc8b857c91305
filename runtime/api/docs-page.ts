/** The page that shows `/v1/openapi.json`: one file, nothing from elsewhere, readable without a mouse. */
import { createHash } from 'node:crypto';

const style = `
:root{color-scheme:light dark;--ink:#1c2024;--quiet:#60646c;--line:#e0e1e6;--ground:#fff;--panel:#f7f8fa;--accent:#0b6e99;--get:#18794e;--post:#0b68cb;--put:#946800}
@media(prefers-color-scheme:dark){:root{--ink:#edeef0;--quiet:#b0b4ba;--line:#363a3f;--ground:#111113;--panel:#1b1d20;--accent:#66b8dc;--get:#55cf8c;--post:#70b8ff;--put:#ffca16}}
*{box-sizing:border-box}
body{margin:0;font:15px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--ground);display:grid;grid-template-columns:17rem minmax(0,1fr)}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1.5rem 1rem;border-right:1px solid var(--line);background:var(--panel)}
main{padding:2rem clamp(1rem,4vw,3.5rem) 6rem;max-width:64rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .4rem}h2{font-size:1.15rem;margin:3rem 0 .8rem;text-transform:capitalize}
nav b{display:block;margin:1.1rem 0 .2rem;font-size:.8rem;color:var(--quiet);text-transform:capitalize}
nav a{display:flex;gap:.5rem;padding:.18rem .3rem;border-radius:4px;color:inherit;text-decoration:none;font-size:.86rem;align-items:baseline}
nav a:hover,nav a:focus-visible{background:var(--line)}nav input{width:100%;padding:.4rem .6rem;font:inherit;border:1px solid var(--line);border-radius:6px;background:var(--ground);color:inherit}
a{color:var(--accent)}p{margin:.3rem 0;max-width:46rem}.quiet{color:var(--quiet)}
code,pre,.path{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,monospace}
.m{font:600 11px/1.4 ui-monospace,monospace;flex:none;width:2.6rem}.get{color:var(--get)}.post{color:var(--post)}.put{color:var(--put)}
details{border:1px solid var(--line);border-radius:8px;margin:.5rem 0;background:var(--ground);scroll-margin-top:1rem}
summary{display:flex;flex-wrap:wrap;gap:.2rem .8rem;align-items:baseline;padding:.6rem .9rem;cursor:pointer;list-style:none}
summary::-webkit-details-marker{display:none}summary .path{font-weight:600;overflow-wrap:anywhere}summary .say{color:var(--quiet);flex-basis:100%;padding-left:3.4rem}
details[open]>summary{border-bottom:1px solid var(--line)}.in{padding:.4rem 1rem 1rem}
h3{font-size:.82rem;color:var(--quiet);margin:1.1rem 0 .3rem;font-weight:600}
table{border-collapse:collapse;width:100%;font-size:.9rem}td{border-top:1px solid var(--line);padding:.35rem .8rem .35rem 0;vertical-align:top}td:first-child{white-space:nowrap;width:1%}
tr:first-child td{border-top:0}pre{background:var(--panel);padding:.7rem .9rem;border-radius:6px;overflow:auto;margin:.3rem 0;max-height:26rem}
.tag{font-size:.75rem;border:1px solid var(--line);border-radius:99px;padding:.05rem .55rem;color:var(--quiet);margin-left:auto}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
@media(max-width:54rem){body{display:block}nav{position:static;height:auto;border-right:0;border-bottom:1px solid var(--line)}nav div{display:none}summary .say{padding-left:0}}
`;

const script = `
const el=(tag,attributes={},...children)=>{const node=document.createElement(tag);for(const [k,v] of Object.entries(attributes))node.setAttribute(k,v);node.append(...children.filter(c=>c!==undefined));return node};
const words=text=>String(text).split('\`').map((part,i)=>i%2?el('code',{},part):part);
const byRef=(doc,s)=>s&&s.$ref?{...doc.components.schemas[s.$ref.split('/').pop()],$name:s.$ref.split('/').pop()}:s;
const typeOf=(doc,s)=>{if(!s)return'';if(s.$ref)return s.$ref.split('/').pop();if(s.const!==undefined)return JSON.stringify(s.const);if(s.enum)return s.enum.length>6?s.enum.slice(0,5).map(v=>JSON.stringify(v)).join(' | ')+' | …':s.enum.map(v=>JSON.stringify(v)).join(' | ');
const many=s.anyOf||s.oneOf;if(many)return many.map(o=>typeOf(doc,o)).join(' | ');if(s.type==='array')return typeOf(doc,s.items)+'[]';return [s.type||'anything'].flat().join(' | ')};
const sample=(doc,s,depth=0)=>{s=byRef(doc,s)||{};if(depth>5)return'…';if(s.default!==undefined)return s.default;if(s.const!==undefined)return s.const;if(s.enum)return s.enum[0];const many=s.anyOf||s.oneOf;if(many)return sample(doc,many[0],depth+1);
if(s.type==='object'||s.properties){const out={};for(const [k,v] of Object.entries(s.properties||{}))if((s.required||[]).includes(k)||depth<1)out[k]=sample(doc,v,depth+1);return out}
if(s.type==='array')return[sample(doc,s.items,depth+1)];return{string:'…',integer:0,number:0,boolean:true}[s.type]??null};
const fields=(doc,s)=>{s=byRef(doc,s)||{};const many=(s.anyOf||s.oneOf)?.map(o=>byRef(doc,o)).filter(o=>o.properties);if(many?.length)return el('div',{},...many.flatMap(o=>[fields(doc,o)]));if(!s.properties)return undefined;
return el('table',{},...Object.entries(s.properties).map(([k,v])=>el('tr',{},el('td',{},el('code',{},k),(s.required||[]).includes(k)?' *':''),el('td',{},el('code',{class:'quiet'},typeOf(doc,v)),v.description?el('p',{},...words(v.description)):undefined))))};
const section=(title,...body)=>[el('h3',{},title),...body];
fetch('openapi.json').then(r=>r.json()).then(doc=>{
const main=document.querySelector('main'),list=document.querySelector('nav div'),groups={};
document.querySelector('#about').replaceChildren(...words(doc.info.description));
for(const [path,item] of Object.entries(doc.paths))for(const [method,op] of Object.entries(item))(groups[op.tags[0]]??=[]).push({path,method,op});
for(const [tag,ops] of Object.entries(groups)){main.append(el('h2',{id:tag},tag.replaceAll('-',' ')));list.append(el('b',{},tag.replaceAll('-',' ')));
for(const {path,method,op} of ops){
const json=op.requestBody?.content['application/json'],good=Object.entries(op.responses).filter(([s])=>s<300);
const token=op.security?.length===0?'':" \\\\\\n  -H \\"Authorization: Bearer $TOKEN\\"";
const shell="curl"+(method==='get'?'':' -X '+method.toUpperCase())+' "$PODLINE'+path.replace(/{(\\w+)}/g,(_,p)=>'$'+p.toUpperCase())+'"'+token+(json?" \\\\\\n  -H 'Content-Type: application/json' -d '"+JSON.stringify(sample(doc,json.schema))+"'":'');
const inside=el('div',{class:'in'},...(op.parameters?.length?section('Parameters',el('table',{},...op.parameters.map(p=>el('tr',{},el('td',{},el('code',{},p.name),p.required?' *':''),el('td',{},el('code',{class:'quiet'},p.in+' · '+typeOf(doc,p.schema)),p.description?el('p',{},...words(p.description)):undefined))))):[]),
...(json?section('Body: '+Object.keys(op.requestBody.content).join(' or '),fields(doc,json.schema)):[]),
...good.flatMap(([s,r])=>section(s+': '+r.description+' '+Object.keys(r.content||{}).join(' or '),...[fields(doc,Object.values(r.content||{})[0]?.schema)].filter(Boolean))),
...section('Refusals',el('table',{},...Object.entries(op.responses).filter(([s])=>s>=300).map(([s,r])=>el('tr',{},el('td',{},el('code',{},s)),el('td',{},r.description))))),...section('In a shell',el('pre',{},shell)));
const box=el('details',{id:op.operationId},el('summary',{},el('span',{class:'m '+method},method.toUpperCase()),el('span',{class:'path'},path),op['x-podline-scope']?el('span',{class:'tag',title:'scope of the token'},op['x-podline-scope']):undefined,el('span',{class:'say'},...words(op.summary))),inside);
main.append(box);list.append(el('a',{href:'#'+op.operationId,'data-words':(path+' '+op.summary).toLowerCase()},el('span',{class:'m '+method},method.toUpperCase()),el('span',{},op.operationId)))}}
const show=()=>{const box=document.getElementById(decodeURIComponent(location.hash.slice(1)));if(box?.tagName==='DETAILS')box.open=true;box?.scrollIntoView()};addEventListener('hashchange',show);show();
document.querySelector('nav input').addEventListener('input',e=>{for(const a of list.querySelectorAll('a'))a.hidden=!a.dataset.words.includes(e.target.value.toLowerCase())&&!a.textContent.toLowerCase().includes(e.target.value.toLowerCase());for(const a of list.querySelectorAll('a'))a.style.display=a.hidden?'none':''})
}).catch(e=>{document.querySelector('#about').textContent='The document cannot be read: '+e.message});
`;

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`;

export const docsPage = {
  html: `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>Podline API</title><style>${style}</style></head>
<body><nav aria-label="Operations"><input type="search" placeholder="Find" aria-label="Find an operation"><div></div></nav>
<main><h1>Podline API</h1><p id="about" class="quiet">Reading the document…</p><p class="quiet">An asterisk marks what must be given. The document itself: <a href="openapi.json">openapi.json</a></p></main>
<script>${script}</script></body></html>
`,
  policy: `default-src 'none'; connect-src 'self'; style-src ${hash(style)}; script-src ${hash(script)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
};
