"""Words of many languages from which training texts are drawn; their order does not matter, only their sounds."""

import numpy as np

WORDS: dict[str, str] = {
    "ca": """bon dia tothom avui fa molt bona temperatura al poble i els meus amics venen a dinar amb nosaltres perquè
        volem parlar del viatge a la muntanya la mare compra pomes peres figues formatge pa vi fresc verdures cada
        dissabte al mercat vell quan plou obrim finestres portes llibres i fem música fins ben tard jo vaig viure
        sempre prop del mar blau aquell vaixell groc surt demà passat cap a Mallorca qui vulgui pujar haurà de pagar
        abans fulla ull cavall pluja foc joc xocolata puig""",
    "cmn": """你好 今天 天气 很好 我们 明天 去 公园 散步
        妈妈 买 苹果 葡萄 面包 朋友 喜欢 音乐 老师 说 中文 北京 上海 飞机
        火车 学校 图书馆 电影 晚上 早上 非常 高兴
        谢谢 请问 多少 钱 不 可以 没有 问题 工作 时间 房子 门口 下雨 月亮 花园 鱼
        马 跑步 吃饭 喝茶 睡觉 生日 快乐""",
    "cs": """dobrý den dnes máme velmi pěkné počasí moje babička peče koláče s mákem a povidly přátelé přijedou zítra
        večer vlakem do Prahy budeme bydlet u řeky vedle starého mostu kniha leží pod oknem voda teče pomalu pes
        štěká na poštu hudba hraje celou noc chlapec běží domů fouká vítr žlutá švestka čokoláda jablko hruška pivo
        mléko chléb maso ryba úterý čtvrtek pátek sobota neděle děkuji prosím můžeme koupit všechno víme""",
    "de": """guten Morgen heute scheint die Sonne über dem Fluss und wir fahren mit dem Fahrrad durch das Dorf meine
        Mutter backt Apfelkuchen für uns alle Freunde kommen am Freitag aus München er möchte ein Buch über Vögel
        lesen schöne Blumen wachsen vor dem Haus spielen Kinder Fußball jeder weiß warum Pfeffer teuer ist zwölf
        Bäume müssen weg bitte öffne das Fenster ich habe Wasser getrunken pünktlich um fünf""",
    "es": """buenos días hoy hace mucho sol y vamos a caminar por el parque mi abuela prepara una comida muy rica para
        toda la familia el perro duerme debajo de la mesa blanca quiero viajar al mar con mis amigos porque nunca
        llueve fuego juego hombre mujer vivir beber hablar escribir pequeño grande jueves viernes sábado domingo
        manzana pera uva pan leche queso chocolate guitarra""",
    "fi": """hyvää huomenta kaikille tänään paistaa
        aurinko ja lapset leikkivät pihalla puun alla isoäiti leipoo mummon
        piirakkaa minä lähden huomenna junalla pohjoiseen ystävät tulevat meille yöksi kalastamme järvellä aamulla
        vene kelluu sininen talo pieni koira juoksee metsässä ostetaan maitoa leipää juustoa omenoita marjoja puhumme
        suomea hitaasti ulkona sataa lunta meri pelto vuori ilta kuu tähti viisi kuusi seitsemän kahdeksan""",
    "fr": """bonjour aujourd'hui il fait beau nous allons
        marcher au bord de la rivière avec nos amis ma mère achète du
        pain frais et des pommes rouges
        chaque samedi matin le petit chat dort sur le fauteuil bleu je voudrais lire un
        livre sur les oiseaux pourquoi faut-il partir si vite deux enfants jouent dans la rue vieux pont huit heures
        jeudi vendredi beaucoup de musique feu jeune fille bon vin blanc""",
    "hi": """नमस्ते आज मौसम बहुत अच्छा है हम सब मिलकर
        बाज़ार जाएँगे मेरी माँ फल और सब्ज़ी खरीदती है बच्चे बाग में खेल रहे हैं
        मेरा भाई पुस्तक पढ़ता है पानी ठंडा है
        कल शाम को दोस्त आएँगे भोजन बनाना गाड़ी धीरे चलती है सूरज निकला चाँद आकाश नीला
        फूल लाल पीला बड़ा छोटा घर दरवाज़ा खिड़की संगीत सुनो बोलो मुझे चाय पीनी है धन्यवाद""",
    "it": """buongiorno a tutti oggi il tempo è
        molto bello e andiamo a passeggiare lungo il fiume mia nonna prepara la
        pasta con pomodoro basilico formaggio gli amici vengono domani sera da Firenze vorrei leggere un libro sugli
        uccelli perché piove sempre quando usciamo bambini giocano davanti alla chiesa vecchia fuoco gioco uovo figlio
        bagno acqua pane vino mele pere uva giovedì venerdì sabato domenica cioccolata zio stazione""",
    "ja": """おはよう きょう は てんき が いい です
        ともだち と こうえん で あそびます おかあさん りんご みかん ぶどう を かいます でんしゃ
        ひこうき うみ やま かわ さかな
        ねこ いぬ ほん を よみます おんがく すき あした ふゆ まいにち わたし ぼく べんきょう""",
    "mr": """नमस्कार आज हवा खूप छान आहे आम्ही सर्व बाजारात जाणार आहोत माझी आई फळे भाजी विकत घेते मुले बागेत खेळत आहेत
        पाणी थंड आहे उद्या संध्याकाळी मित्र येतील पुस्तक वाचा गाडी हळू चालते सूर्य चंद्र आकाश निळे फूल लाल पिवळा मोठा
        लहान घर दार खिडकी संगीत ऐका बोला मला चहा हवा""",
    "pl": """dzień dobry dzisiaj jest piękna pogoda i pójdziemy nad rzekę z przyjaciółmi moja babcia piecze ciasto z
        jabłkami chłopiec biegnie do domu pies szczeka głośno kupimy chleb masło ser wodę mleko książka leży pod
        oknem wieczorem gra muzyka żółty kwiat dąb ręka zęby gęś piątek sobota niedziela proszę wszystko będzie
        dobrze""",
    "pt": """bom dia hoje está muito sol e vamos passear perto do rio com os amigos minha avó faz um bolo de maçã para
        toda a família o cão dorme debaixo da mesa quero viajar amanhã de comboio até ao mar pão vinho queijo leite
        irmão coração lã mãe não sim fogo jogo homem mulher chuva vento quinta sexta sábado domingo""",
    "ru": """доброе утро сегодня очень хорошая погода и мы пойдём гулять в парк вместе с друзьями моя бабушка печёт
        пироги с яблоками и вишней мальчик бежит домой собака лает громко купим хлеб масло сыр вода молоко книга лежит
        под окном вечером играет музыка жёлтый цветок чёрный шоколад широкая река пять шесть семь восемь пятница
        суббота воскресенье спасибо пожалуйста можно поехать быстро""",
    "te": """నమస్కారం ఈరోజు వాతావరణం చాలా బాగుంది మేము అందరం బజారుకు వెళ్తాము మా అమ్మ పండ్లు కూరగాయలు కొంటుంది పిల్లలు
        తోటలో ఆడుకుంటున్నారు నీరు చల్లగా ఉంది రేపు సాయంత్రం స్నేహితులు వస్తారు పుస్తకం చదువు పాట విను ఇల్లు తలుపు
        సూర్యుడు చంద్రుడు ఆకాశం పువ్వు ఎరుపు పెద్ద చిన్న""",
    "tr": """günaydın bugün hava çok güzel
        ve arkadaşlarımla nehir kenarında yürüyeceğiz annem elmalı kek yapıyor küçük
        köpek masanın altında uyuyor
        yarın trenle denize gitmek istiyorum ekmek peynir süt şeker su kitap pencere müzik
        çiçek ağaç kuş balık beş altı yedi sekiz cuma cumartesi pazar teşekkür ederim""",
}
"""Language, by its espeak-ng name → words."""


def draw_text(language: str, generator: np.random.Generator) -> str:
    """Draw five to eleven words of a language in random order, with occasional commas.

    Args:
        language: a key of `WORDS`.
        generator: source of every choice.
    """
    pool = WORDS[language].split()
    words = [pool[place] for place in generator.integers(len(pool), size=int(generator.integers(5, 12)))]
    if generator.random() < 0.5:
        words[len(words) // 2] += ","
    return " ".join(words) + "."
