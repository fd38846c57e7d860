"""What the rules look for in Chinese, German, French and Spanish, beside their English.

Chinese writes no spaces, so that words are found anywhere in a text. The other languages are read
modestly: the commonest words of reference, of order and of conclusion.
"""

import re
from collections.abc import Iterable

_N = r"[一二三四五六七八九十百\d]+"


_LETTER = re.compile(r"[À-ÖØ-öø-ɏ\u3040-\u30ff\u4e00-\u9fff¿¡]")


def is_foreign(texts: Iterable[str]) -> bool:
    """Whether any text holds a letter that English does not use."""
    return any(not text.isascii() and _LETTER.search(text) for text in texts)


def _pattern(chinese: str, words: str) -> re.Pattern[str]:
    """Chinese as it stands, the other languages as whole words."""
    return re.compile(rf"[^\w\n]*(?:{chinese}|(?:{words})\b)", re.IGNORECASE)


START = _pattern(
    "然后|接着|接下来|随后|之后|其后|此后|后来|再者|此外|另外|同时|与此同时|而且|并且"
    "|但是|但|然而|不过|因此"
    "|因而|所以|于是|从而|由此|可见|相反|相比之下|同样|类似|还有|另一|前者|后者"
    "|以上|上述|综上|换句话说|也就是说|总之|除此之外|在此基础上|基于此|有了"
    "|完成.{0,6}后|在.{2,14}的?基础上|(?:如果|若|要是)(?:仍|还|依[然旧]|以上)",
    "danach|dann|anschließend|daraufhin|außerdem|ferner|zudem|ebenso|ebenfalls|jedoch|allerdings"
    "|dagegen"
    "|hingegen|dadurch|deshalb|daher|folglich|somit|letzter[esn]*|ersterer?"
    "|andere[rsn]?"
    "|ensuite|puis|après cela|de plus|en outre|également|aussi"
    "|cependant|toutefois"
    "|en revanche|au contraire|donc|ainsi|par conséquent|ce dernier|cette dernière|celui-ci"
    "|celle-ci|une? autre|luego|después|entonces|además|también|asimismo|sin embargo|no obstante"
    "|por (?:el contrario|lo tanto|ello|eso)|en cambio|est[ea] últim[oa]"
    "|otr[oa]s?",
)
"""How a branch begins that goes on with another one. To be matched at its beginning."""

END = _pattern(
    "最后|最终", "zuletzt|schließlich|zum schluss|enfin|pour finir|por último|finalmente|al final"
)
"""How the last of several begins."""

PRONOUN = _pattern(
    "这|那(?!么多)|它|他们|她们|他(?!人)|她|该|此(?!外)|其(?!中|他|实)",
    "dies(?:e[rsmn]?)?|er|sie|sein\\w*|ihr\\w*|elles?|ils?|son|sa|ses|cela|ceci|ce|cette|ello|esto"
    "|est[eao]s?|su|sus",
)
"""How a branch without a label begins that points at another one."""

ANYWHERE = re.compile(
    "如上所述|如前所述|如上文|上述|前述|上面(?:的|提到|所|说)|前面(?:的|提到|所|说)|前文|上文"
    "|见上|同上|前者|后者"
    "|以上(?:步骤|方法|各|几|内容|提|所|两|三)|[前上]一(?:步|点|个|种|条|项|部分|节|阶段)"
    "|下一(?:步|点|条|节|阶段)"
    f"|第{_N}步|步骤{_N}|重复(?:上述|以上|前|步骤|第)|其余(?:两|三|几|步骤|部分)"
    f"|另外?[两三几](?:个|种|点)"
    f"|上一步|前{_N}(?:步|点|个|种|条|项)"
    r"|\b(?:oben (?:genannt|erwähnt|beschrieben)\w*|siehe oben|letzter(?:er|e|es)\b|ersterer?"
    r"|(?:vorherige|vorige|vorangehende|nächste)\w* (?:Schritt|Punkt|Abschnitt)\w*|Schritt \d"
    r"|wie (?:bereits |oben )?(?:erwähnt|beschrieben|gesagt)"
    r"|ci-dessus|susmentionné\w*|étapes? (?:\d|précédente|suivante)|comme (?:mentionné|indiqué"
    r"|expliqué)"
    r"|ce dernier|cette dernière|(?:mencionad|descrit|citad)[oa]s? (?:anteriormente|arriba|antes)"
    r"|pasos? (?:\d|anterior|siguiente)|est[ea] últim[oa]|como se (?:mencionó|indicó|explicó))",
    re.IGNORECASE,
)

CLOSING = _pattern(
    "总之|综上|总的来说|总而言之|总体|最后|希望|请注意|注意[，：:]|记住|通过(?:以上|这些|上述)"
    "|以上|这些|这|祝|谢谢|如果你|如果您|如需"
    "|归根结底|最终的?(?:结果|选择|决定)|当然|需要注意|值得注意|无论|不管|因此|所以|请",
    "zusammenfass\\w*|insgesamt|abschließend|fazit|letztlich|bitte|viel (?:spaß|erfolg)"
    "|denk\\w* daran|diese"
    "|en (?:conclusion|résumé|somme)|pour (?:conclure|finir)|bref|n'oubliez pas|ces|bon(?:ne)? \\w+"
    "|en (?:conclusión|resumen)|para (?:concluir|terminar)|recuerda|estos|estas|espero",
)
"""How text begins that closes a list instead of going on with its last item."""

CLOSING_HEAD = _pattern(
    "总结|结论|小结|结语|结束语|参考|注意事项|备注|温馨提示|后记|尾声",
    "fazit|schluss\\w*|zusammenfassung|quellen|conclusion|résumé|sources|remarques?|conclusión"
    "|resumen"
    "|fuentes|notas?",
)
OPENING_HEAD = _pattern(
    "引言|简介|前言|概述|背景|介绍|导言|摘要|定义|标题|目的",
    "einleitung|einführung|überblick|hintergrund|introduction|aperçu|contexte|introducción"
    "|resumen|contexto",
)
ORDERED_LABEL = _pattern(
    f"(?:周|星期|礼拜)[一二三四五六日天](?!般)|第{_N}(?:步|天|日|周|月|年|阶段|章|节|幕|集|课|回|场|轮|段)|步骤|阶段{_N}|早上|早晨|上午"
    f"|中午|下午|傍晚|晚上|夜[里晚]",
    "schritt|(?:mon|diens|donners|frei|sams|sonn)tags?|mittwochs?|lundi|mardi|mercredi|jeudi"
    "|vendredi"
    "|samedi|dimanche|lunes|martes|miércoles|jueves|viernes|sábado|domingo|tag \\d|woche \\d|phase"
    "|kapitel|morgens?|mittags?|nachmittags?|abends?|étape"
    "|jour \\d|semaine \\d"
    "|chapitre|matin|midi|après-midi|soir|paso|día \\d|semana \\d|capítulo|mañana|tarde|noche",
)
TAKES_UP = re.compile(
    r"\W*(?:解释|理由|说明|答案|解析|翻译|译文|示例|例子|例句)\W*$",
)
"""What belongs to something that was said before: a whole title."""
DERIVED = _pattern(
    "计算|求(?:解|出|和)|代入|化简|解方程|列方程|证明|总计|合计|设(?=[a-zA-Z])|已知|得出",
    "berechn\\w*|gesamt\\w*|ergebnis|calcul\\w*|total|résultat|resultado",
)
STAGE_LABEL = _pattern(
    "材料|食材|配料|用料|步骤|做法|制作|方法步骤|准备(?:工作|材料)|安装|操作|实施",
    "zutaten|zubereitung|anleitung|vorbereitung|ingrédients|préparation|instructions|ingredientes"
    "|preparación|instrucciones",
)
ANNOUNCED = re.compile(
    "(?:步骤|流程|教程|做法|操作方法|食谱|菜谱|行程|顺序|时间线|歌词|剧本)"
    "(?:如下|(?:可以|可能|应该)?(?:是|为|有|包括|操作|进行|来|完成)?)[^，。：:]{0,4}[：:]?$|过程如下"
    r"|\b(?:schritte?n?|anleitung|rezept|ablauf|étapes?|recette|procédure"
    r"|pasos?|receta|procedimiento)\b[^.:]{0,40}:?\W*$",
    re.IGNORECASE,
)
ASKED = re.compile(
    "怎么[做修装画]|如何(?:制作|做|安装|设置|搭建|修理|更换|清洗|绘制|煮|烤|炒)|食谱|菜谱|做法"
    "|步骤|流程|写.{0,12}(?:故事|剧本|诗|歌)|行程|证明|计算|求解"
    r"|\b(?:rezept|anleitung|wie (?:mache|baue|installiere|koche|backe) ich|schritt für schritt"
    r"|recette"
    r"|comment (?:faire|installer|préparer|cuisiner)|étapes?"
    r"|receta|cómo (?:hacer|instalar|preparar|cocinar)|pasos)\b",
    re.IGNORECASE,
)
ADVICE = re.compile(r"(?:一些|几个|几种|若干|以下)(?:\w{0,6})(?:建议|方法|技巧|方式|措施|途径)")
IDEAS = re.compile(
    r"(?:[几二三四五六七八九十两多\d]|一些)(?:个|种|条|道|款|类|项|篇|部|些|家|本)?[^，。：:]{0,12}"
    "(?:建议|选[项择]|例子|示例|点子|想法|创意|活动|游戏|菜|食谱|美食|方式|方法|方案|途径|技巧|文章|书籍?"
    "|电影|问题|目标|好处|原因|因素|优点|用途)"
    "|(?:以下|下列|下面)(?:的|是)?[^，。：:]{0,4}(?:目标|好处|优点|缺点|原因|因素|用途|作用|特点|影响|建议)"
)
"""Things to choose from, or aspects, each of which is whole."""
CHOICES = re.compile(
    r"(?:[几二三四五六七八九十两多\d]|一些)(?:个|种|条|道|款|类|项)?[^，。：:]{0,8}(?:菜|食谱|美食|点心|饮[品料]|游戏|活动)"
)
"""Things that are made or done one way each."""
SEQUENCE = re.compile(
    r"然后|接着|接下来|随后|直到|重复|再将|待.{1,8}后|之后再|完成后|将其"
    r"|\b(?:danach|dann|anschließend|sobald|ensuite|puis|jusqu'à|une fois|luego|después de"
    r"|hasta que)\b",
    re.IGNORECASE,
)
MAKING = re.compile("烤箱|搅拌|翻炒|煮沸|小火|大火|毫升|汤匙|茶匙|点击|下载|菜单|平底锅|螺丝")
HANDS = _pattern(
    "在第.{1,8}[行列格]|打开|点击|选择|放入|加入|倒入|取出|切成|切碎|涂抹|涂上|混合|搅拌|加热|预热|煮|炒|烤|蒸|炸|洗净|清洗|擦干"
    "|拧|插入|连接|关闭|输入|填写|提交|登录|下载|安装|将|把|用手|盖上|等待|静置|按下|拆下|装上",
    "öffne\\w*|gib|geben|rühre\\w*|schneide\\w*|schraube\\w*|klicke\\w*|lege\\w*|backe\\w*"
    "|koche\\w*|mische\\w*"
    "|entferne\\w*|ouvr\\w+|versez|ajoutez|mélangez|coupez|cliquez|placez|retirez|faites|laissez"
    "|abre|abra"
    "|añad\\w+|agrega\\w*|mezcl\\w+|cort\\w+|coloc\\w+|retir\\w+|vert\\w+|calient\\w+",
)
"""What is done with the hands, at the beginning of an item."""
WORK = re.compile(
    r"写.{0,12}(?:故事|剧本|诗|歌|小说)|对话"
    r"|\bschreib\w* .{0,40}\b(?:geschichte|gedicht|dialog)\b"
    r"|\bécri\w+ .{0,40}\b(?:histoire|poème|dialogue)\b"
    r"|\bescrib\w+ .{0,40}\b(?:historia|cuento|poema|diálogo)\b",
    re.IGNORECASE,
)
"""A work whose parts live by each other is asked for."""
ORDER = re.compile(
    r"步骤|流程|\b(?:schritt für schritt|étape par étape|paso a paso)\b", re.IGNORECASE
)
DOING = re.compile(
    r"怎么|如何|怎样|方法|\bwie (?:kann|soll|mache)|\bcomment\b|\bcómo\b", re.IGNORECASE
)
WAYS = re.compile("(?:方法|方式|办法)[^。]*[：:]$")
CHOOSES = _pattern(
    "如何选择|选择建议|怎么选|比较|对比|总结|结论|小结|综上|总之|异同|区别",
    r"fazit|vergleich|zusammenfassung|welche[rs]?\b.*\bwählen|conclusion|comparaison"
    r"|comment choisir"
    "|résumé|comparación|conclusión|cómo elegir|resumen",
)
WEIGHS = _pattern(
    ".{0,12}(?:折中|折衷)|平衡(?:点|之道)?$|(?:两者|二者)?(?:的)?结合$|综合(?:来看|考虑|以上)|最终的?(?:结果|选择|决定)"
    "|归根结底|总之|总的来说|综上",
    "letztlich|insgesamt|ein mittelweg|en fin de compte|en définitive|en última instancia",
)
SUMMED = re.compile(
    "[。！？]\\s*(?:通过|采取|所有)?这些(?:机制|策略|方法|措施|因素|步骤|技巧|做法|方面|建议|例子|[^，。]{0,4}方程)"
)
ALSO = re.compile("[^。！？\\n]{2,}?同样(?:用|采用|使用|以|是|有|在|可以|需要|也)")
"""In the first sentence of a branch: what is so besides something else."""
ECHOES = re.compile("(?:与|和|跟|同)([^，。；、\\s]{2,12}?)(?:相互|相)?呼应")
"""What is made to go with a thing."""
RESULT = _pattern("总计|合计|结果|答案", "ergebnis|gesamt|résultat|total|resultado")
