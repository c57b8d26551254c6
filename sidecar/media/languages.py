"""Languages: from the codes of media files to BCP 47 tags and English names.

ISO 639-2 codes (both the terminological and the bibliographic ones) of languages that also have a
two-letter ISO 639-1 code become the latter, as BCP 47 (RFC 5646 2.2.1) asks for the shortest.
"""

from __future__ import annotations

import re

_WELL_FORMED = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
MAX_TAG = 35  # characters, RFC 5646 4.4.1

# ISO 639-2/T code, ISO 639-1 code, English name; one language a line.
_WITH_TWO_LETTERS = """
aar aa Afar
abk ab Abkhazian
afr af Afrikaans
aka ak Akan
amh am Amharic
ara ar Arabic
arg an Aragonese
asm as Assamese
ava av Avaric
ave ae Avestan
aym ay Aymara
aze az Azerbaijani
bak ba Bashkir
bam bm Bambara
bel be Belarusian
ben bn Bengali
bis bi Bislama
bod bo Tibetan
bos bs Bosnian
bre br Breton
bul bg Bulgarian
cat ca Catalan
ces cs Czech
cha ch Chamorro
che ce Chechen
chu cu Church Slavic
chv cv Chuvash
cor kw Cornish
cos co Corsican
cre cr Cree
cym cy Welsh
dan da Danish
deu de German
div dv Divehi
dzo dz Dzongkha
ell el Greek
eng en English
epo eo Esperanto
est et Estonian
eus eu Basque
ewe ee Ewe
fao fo Faroese
fas fa Persian
fij fj Fijian
fin fi Finnish
fra fr French
fry fy Western Frisian
ful ff Fulah
gla gd Scottish Gaelic
gle ga Irish
glg gl Galician
glv gv Manx
grn gn Guarani
guj gu Gujarati
hat ht Haitian
hau ha Hausa
heb he Hebrew
her hz Herero
hin hi Hindi
hmo ho Hiri Motu
hrv hr Croatian
hun hu Hungarian
hye hy Armenian
ibo ig Igbo
ido io Ido
iii ii Sichuan Yi
iku iu Inuktitut
ile ie Interlingue
ina ia Interlingua
ind id Indonesian
ipk ik Inupiaq
isl is Icelandic
ita it Italian
jav jv Javanese
jpn ja Japanese
kal kl Kalaallisut
kan kn Kannada
kas ks Kashmiri
kat ka Georgian
kau kr Kanuri
kaz kk Kazakh
khm km Khmer
kik ki Kikuyu
kin rw Kinyarwanda
kir ky Kirghiz
kom kv Komi
kon kg Kongo
kor ko Korean
kua kj Kuanyama
kur ku Kurdish
lao lo Lao
lat la Latin
lav lv Latvian
lim li Limburgish
lin ln Lingala
lit lt Lithuanian
ltz lb Luxembourgish
lub lu Luba-Katanga
lug lg Ganda
mah mh Marshallese
mal ml Malayalam
mar mr Marathi
mkd mk Macedonian
mlg mg Malagasy
mlt mt Maltese
mon mn Mongolian
mri mi Maori
msa ms Malay
mya my Burmese
nau na Nauru
nav nv Navajo
nbl nr South Ndebele
nde nd North Ndebele
ndo ng Ndonga
nep ne Nepali
nld nl Dutch
nno nn Norwegian Nynorsk
nob nb Norwegian Bokmål
nor no Norwegian
nya ny Chichewa
oci oc Occitan
oji oj Ojibwa
ori or Oriya
orm om Oromo
oss os Ossetian
pan pa Panjabi
pli pi Pali
pol pl Polish
por pt Portuguese
pus ps Pashto
que qu Quechua
roh rm Romansh
ron ro Romanian
run rn Rundi
rus ru Russian
sag sg Sango
san sa Sanskrit
sin si Sinhala
slk sk Slovak
slv sl Slovenian
sme se Northern Sami
smo sm Samoan
sna sn Shona
snd sd Sindhi
som so Somali
sot st Southern Sotho
spa es Spanish
sqi sq Albanian
srd sc Sardinian
srp sr Serbian
ssw ss Swati
sun su Sundanese
swa sw Swahili
swe sv Swedish
tah ty Tahitian
tam ta Tamil
tat tt Tatar
tel te Telugu
tgk tg Tajik
tgl tl Tagalog
tha th Thai
tir ti Tigrinya
ton to Tonga
tsn tn Tswana
tso ts Tsonga
tuk tk Turkmen
tur tr Turkish
twi tw Twi
uig ug Uighur
ukr uk Ukrainian
urd ur Urdu
uzb uz Uzbek
ven ve Venda
vie vi Vietnamese
vol vo Volapük
wln wa Walloon
wol wo Wolof
xho xh Xhosa
yid yi Yiddish
yor yo Yoruba
zha za Zhuang
zho zh Chinese
zul zu Zulu
"""

# Three letters only.
_WITH_THREE_LETTERS = """
arc Aramaic
ast Asturian
ber Berber
ceb Cebuano
ckb Central Kurdish
cmn Mandarin Chinese
dsb Lower Sorbian
fil Filipino
frr Northern Frisian
fur Friulian
gsw Swiss German
haw Hawaiian
hmn Hmong
hsb Upper Sorbian
ilo Iloko
kab Kabyle
kok Konkani
lad Ladino
mai Maithili
mul Multiple languages
nap Neapolitan
nds Low German
nso Northern Sotho
pap Papiamento
prs Dari
scn Sicilian
sco Scots
sgn Sign languages
sma Southern Sami
smn Inari Sami
sms Skolt Sami
syr Syriac
tlh Klingon
tpi Tok Pisin
vls Vlaams
wen Sorbian
yue Cantonese
zgh Standard Moroccan Tamazight
zxx No linguistic content
"""

# ISO 639-2/B -> /T.
_BIBLIOGRAPHIC = {
    "alb": "sqi", "arm": "hye", "baq": "eus", "bur": "mya", "chi": "zho", "cze": "ces",
    "dut": "nld", "fre": "fra", "geo": "kat", "ger": "deu", "gre": "ell", "ice": "isl",
    "mac": "mkd", "mao": "mri", "may": "msa", "per": "fas", "rum": "ron", "slo": "slk",
    "tib": "bod", "wel": "cym",
}  # fmt: skip

_SHORT: dict[str, str] = {}
_NAMES: dict[str, str] = {}
for _line in _WITH_TWO_LETTERS.strip().splitlines():
    _long, _short, _name = _line.split(" ", 2)
    _SHORT[_long], _NAMES[_short] = _short, _name
for _line in _WITH_THREE_LETTERS.strip().splitlines():
    _long, _name = _line.split(" ", 1)
    _NAMES[_long] = _name
_SHORT |= {b: _SHORT[t] for b, t in _BIBLIOGRAPHIC.items()}


def is_language(tag: str) -> bool:
    """Whether ``tag`` has the form of a language tag or code and says which language it is."""
    return (
        len(tag) <= MAX_TAG
        and _WELL_FORMED.fullmatch(tag) is not None
        and tag.lower() not in ("und", "unk", "mis")
    )


def bcp47(tag: str) -> str:
    """``tag`` (ISO 639 code or BCP 47) as a BCP 47 tag: ``eng`` -> ``en``, ``zh-hans`` ->
    ``zh-Hans``. Unknown languages and malformed tags come back as they are."""
    if _WELL_FORMED.fullmatch(tag) is None:
        return tag
    primary, *rest = tag.split("-")
    language = primary.lower()
    subtags = [_SHORT.get(language, language)]
    for index, subtag in enumerate(rest):
        after_singleton = any(len(before) == 1 for before in rest[:index])
        if len(subtag) == 4 and subtag.isalpha() and not after_singleton:
            subtags.append(subtag.title())
        elif len(subtag) == 2 and subtag.isalpha() and not after_singleton:
            subtags.append(subtag.upper())
        else:
            subtags.append(subtag.lower())
    return "-".join(subtags)


def english_name(tag: str) -> str | None:
    """The language's English name for menus: ``English``, ``Chinese (zh-Hans)`` when the tag says
    more than the language; None when it is not known."""
    canonical = bcp47(tag)
    primary, _, rest = canonical.partition("-")
    name = _NAMES.get(primary)
    return f"{name} ({canonical})" if name is not None and rest else name
